"""A process that uses a budget as it is told, one JSON command a line; its clock is what the command says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bot4_live.execution.rest_budget import Priority, RestBudget, Throttled, account_tag


def main(url: str, directory: str) -> None:
    now = 0

    def clock() -> int:
        return now

    budget = RestBudget(url, directory=Path(directory), clock=clock)
    tickets = []
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        now = command.pop("now", now)
        name = command.pop("do")
        answer: object = None
        if name == "claim":
            try:
                ticket = budget.claim(
                    command["weight"], Priority(command["priority"]), account_tag("key"), order=command["order"]
                )
                tickets.append(ticket)
                answer = {"ticket": len(tickets) - 1}
            except Throttled as stop:
                answer = {"wait_s": stop.wait_s, "banned": stop.banned}
        elif name == "note":
            budget.note(tickets[command["ticket"]], command["status"], command["headers"], command.get("code", 0))
        elif name == "give_back":
            budget.give_back(tickets[command["ticket"]])
        elif name == "join":
            budget.close()
            budget, tickets = RestBudget(url, directory=Path(command["directory"]), clock=clock), []
        elif name == "clock":
            budget.set_clock(command["venue_ns"], now, command["speed_milli"])
        elif name == "storm":  # as many claims as there are, as fast as it goes, until it is killed or refused
            answer = 0
            try:
                while True:
                    budget.claim(1, Priority.ORDER)
                    answer += 1
            except Throttled:
                pass
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
