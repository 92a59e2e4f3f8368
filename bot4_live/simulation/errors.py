"""Binance's error codes and messages, as its USD-M futures documentation lists them."""

from __future__ import annotations


class ApiError(Exception):
    """A refused request: `{"code": code, "msg": text}` with an HTTP status."""

    def __init__(self, code: int, text: str, status: int = 400, retry_after_s: int | None = None) -> None:
        """Keep what the answer will say."""
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.status, self.retry_after_s = code, text, status, retry_after_s


def missing(name: str) -> ApiError:
    """Return the error for a parameter that is absent, empty or malformed."""
    return ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def not_required(name: str) -> ApiError:
    """Return the error for a parameter that this kind of order does not take."""
    return ApiError(-1106, f"Parameter '{name}' sent when not required.")


_TABLE = {
    "no_key": (-2014, "API-key format invalid.", 401),
    "unknown_key": (-2015, "Invalid API-key, IP, or permissions for action.", 401),
    "signature": (-1022, "Signature for this request is not valid.", 400),
    "window": (-1021, "Timestamp for this request is outside of the recvWindow.", 400),
    "ahead": (-1021, "Timestamp for this request was 1000ms ahead of the server's time.", 400),
    "recv_window": (-1131, "recvWindow must be less than 60000.", 400),
    "symbol": (-1121, "Invalid symbol.", 400),
    "not_traded": (-4140, "Invalid symbol status for opening position.", 400),
    "life": (-1115, "Invalid timeInForce.", 400),
    "kind": (-1116, "Invalid orderType.", 400),
    "side": (-1117, "Invalid side.", 400),
    "position_side": (-4061, "Order's position side does not match user's setting.", 400),
    "precision": (-1111, "Precision is over the maximum defined for this asset.", 400),
    "tick": (-4014, "Price not increased by tick size.", 400),
    "lot": (-4023, "Qty not increased by step size.", 400),
    "no_qty": (-4003, "Quantity less than or equal to zero.", 400),
    "small_qty": (-4004, "Quantity less than min quantity.", 400),
    "large_qty": (-4005, "Quantity greater than max quantity.", 400),
    "no_price": (-4001, "Price less than 0.", 400),
    "client_id": (-4015, "Client order id is not valid.", 400),
    "duplicate": (-4116, "ClientOrderId is duplicated.", 400),
    "margin": (-2019, "Margin is insufficient.", 400),
    "reduce_only": (-2022, "ReduceOnly Order is rejected.", 400),
    "max_orders": (-2025, "Reach max open order limit.", 400),
    "unknown_order": (-2011, "Unknown order sent.", 400),
    "no_order": (-2013, "Order does not exist.", 400),
    "fok": (
        -5021,
        "Due to the order could not be filled immediately, the FOK order has been rejected. The order will not be "
        "recorded in the order history",
        400,
    ),
    "gtx": (
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected. The order will not be "
        "recorded in the order history",
        400,
    ),
    "interval": (-1120, "Invalid interval.", 400),
    "limit": (-1130, "Data sent for parameter 'limit' is not valid.", 400),
    "time": (-1100, "Illegal characters found in a parameter.", 400),
    "time_order": (-1023, "Start time is greater than end time.", 400),
    "hour": (-4166, "Search window is restricted to 1 hour.", 400),
    "listen_key": (-1125, "This listenKey does not exist.", 400),
    "margin_type": (-4046, "No need to change margin type.", 400),
    "position_mode": (-4059, "No need to change position side.", 400),
    "leverage": (-4028, "Leverage is not valid", 400),
}


def error(name: str) -> ApiError:
    """Return one of the errors that need no detail."""
    return ApiError(*_TABLE[name])
