"""The Python package httpx-sse as a client: a line for each event, until one called `end`.

Argument: URL. A line is `event TYPE DATA ID`, each in hexadecimal. The package also hands out a
`retry` without data, which is no event (WHATWG HTML, 9.2.6): that is left out.
"""
import sys

import httpx
from httpx_sse import connect_sse


def hexed(text):
    return text.encode("utf-8").hex()


with httpx.Client(timeout=120) as client:
    with connect_sse(client, "GET", sys.argv[1]) as source:
        print("open", flush=True)
        for event in source.iter_sse():
            if event.retry is not None and not event.data:
                continue
            print("event", hexed(event.event), hexed(event.data), hexed(event.id), sep=" ", flush=True)
            if event.event == "end":
                break
