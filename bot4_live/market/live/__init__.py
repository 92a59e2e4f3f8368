"""Live market data: pools of connections that keep the venues' feeds fed."""
