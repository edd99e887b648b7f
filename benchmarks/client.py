"""A client of the page's own protocol (a websocket, and HTTP for files): a visitor without the cost of a browser."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import http.cookies
import json
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState


class RefusedError(RuntimeError):
    """The server does not do what it is asked by HTTP."""


@dataclass
class Run:
    """What one run of the page has sent.

    Attributes:
        asked: When it was asked for.
        begun: It has begun: what comes before belongs to an earlier run.
        certain: What it draws is an answer to what was asked, and not to what the visitor had asked before.
        after: How many elements it drew after the server knew of what was asked.
        ended: It has come to its end, uninterrupted.
        elements: All that it drew, in order.
        popovers: The same, of what can be opened.
        prints: Of all attention maps that were drawn, with the picture below them, by row and tile.
    """

    asked: float
    begun: bool = False
    certain: bool = False
    after: int = 0
    ended: bool = False
    elements: list[Any] = field(default_factory=list)
    popovers: list[Any] = field(default_factory=list)
    prints: dict[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """All that was asked for is here."""
        return self.ended and self.certain

    def of_kind(self, kind: str) -> list[Any]:
        """Return the elements of a kind, such as ``"slider"``."""
        return [getattr(e, kind) for e in self.elements if e.WhichOneof("type") == kind]

    def labelled(self, kind: str, label: str) -> Any:
        """Return the element of a kind with a label; None where there is none."""
        return next((e for e in self.of_kind(kind) if e.label == label), None)

    @property
    def exceptions(self) -> list[str]:
        """What was shown of errors that nobody handled."""
        return [e.message for e in self.of_kind("exception")]

    @property
    def alerts(self) -> list[str]:
        """What was shown as an error that was handled."""
        return [e.body for e in self.of_kind("alert")]

    @property
    def gone(self) -> bool:
        """It says that a picture of the visitor's own is not kept any more."""
        return any("no longer here" in text.body for text in self.of_kind("markdown"))

    def begin(self, *, certain: bool) -> None:
        """Begin, or begin again: what a run that this one interrupts had drawn does not count."""
        self.begun, self.certain, self.after, self.ended = True, certain, 0, False
        self.elements, self.popovers, self.prints = [], [], {}

    def draw(self, element: Any, *, known: bool) -> None:
        """Take what was drawn; ``known``.

        After the server knew of what was asked, when an earlier run ends before it draws.
        """
        self.after += known
        self.certain = self.certain or self.after > 1  # one may have been on its way
        self.elements.append(element)
        if element.WhichOneof("type") != "bidi_component":
            return
        component = element.bidi_component
        row = component.id.split("-", 2)[-1]  # as the page calls it
        for tile in json.loads(component.json or "{}").get("tiles", ()):
            drawing = tile["drawing"]
            if tile["role"] == "map" and drawing and drawing["kind"] == "map" and tile["id"] != "large":
                print_of = hashlib.sha256(f"{drawing['values']} {drawing['step']} {drawing['picture']}".encode())
                self.prints[f"{row} {tile['id']}"] = print_of.hexdigest()


@dataclass
class Client:
    """One open page.

    Attributes:
        address: The server's.
        run: What the latest run of the page has sent.
        received: Bytes.
    """

    address: str
    run: Run = field(default_factory=lambda: Run(0.0))
    received: int = 0
    _socket: Any = None
    _reading: asyncio.Task[None] | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _session: str = ""
    _answers: dict[str, ForwardMsg] = field(default_factory=dict)
    _asked: bytes = b""  # the latest run, as the server was asked for it
    _behind: str = ""  # what is asked behind the latest run
    _rounds: int = (
        0  # how often that must still be answered, until the server knows of that run and has sent all from before
    )

    async def __aenter__(self) -> Client:
        address = self.address.replace("http", "ws", 1) + "/_stcore/stream"
        # A server that was killed does not answer to a close, for which ten seconds would be waited.
        self._socket = await websockets.connect(
            address,
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=None,
            ping_interval=None,
            close_timeout=0.2,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._socket.close()

    async def ask(
        self, page: str, query: Mapping[str, str | list[str]], *states: WidgetState, walked: bool = True
    ) -> None:
        """Ask for a run of a page; the choices come from the address, as when a visitor goes back, and from controls'
        states.
        """
        message = BackMsg()
        message.rerun_script.query_string = urllib.parse.urlencode(query, doseq=True)
        message.rerun_script.page_name = page
        message.rerun_script.is_history_navigation = walked
        message.rerun_script.widget_states.widgets.extend(states)
        idle = self.run.finished or not self._session
        self.run, self._asked = Run(time.monotonic()), message.SerializeToString()
        self._behind, self._rounds = str(uuid.uuid4()), 0 if idle else 2
        await self._socket.send(self._asked)
        await self._ask_behind()

    async def _ask_behind(self) -> None:
        """Ask twice, one after the other, what the server answers at once.

        With the first answer it knows of the latest run. But what an earlier one had drawn by then may lie in line
        behind that answer; it lies before the second.
        """
        if self._rounds:
            behind = BackMsg()
            behind.file_urls_request.request_id, behind.file_urls_request.session_id = self._behind, self._session
            await self._socket.send(behind.SerializeToString())

    async def known(self, limit: float) -> None:
        """Wait until the server knows of what was asked.

        Raises:
            TimeoutError: After so many seconds.
        """
        async with asyncio.timeout(limit):
            while self._rounds:
                self._news.clear()
                await self._news.wait()

    async def until(self, there: Callable[[Run], Any], limit: float) -> float:
        """Wait until something holds of the latest run, or it is finished; return the seconds since it was asked for.

        Raises:
            TimeoutError: After so many seconds.
        """
        async with asyncio.timeout(limit):
            while not (self.run.finished or there(self.run)):
                self._news.clear()
                await self._news.wait()
                if self._reading and self._reading.done():
                    self._reading.result()  # why there will be no more
        return time.monotonic() - self.run.asked

    async def _read(self) -> None:
        try:
            async for data in self._socket:
                self.received += len(data)
                message = ForwardMsg()
                message.ParseFromString(data)
                self._take(message)
                if message.WhichOneof("type") in ("new_session", "script_finished", "file_urls_response"):
                    await self._ask_behind()  # a run that begins throws away what was not sent yet, answers too
                if self.run.ended and not (self.run.certain or self._rounds):
                    # Whose it was, nobody can tell, but the next will be what was asked for: there is no other in line.
                    self.run = Run(self.run.asked)
                    await self._socket.send(self._asked)
                self._news.set()
        finally:
            self._news.set()

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._session = message.new_session.initialize.session_id
            self.run.begin(certain=not self._rounds)
        elif kind == "delta" and self.run.begun and message.delta.WhichOneof("type") == "new_element":
            self.run.draw(message.delta.new_element, known=not self._rounds)
        elif kind == "delta" and self.run.begun and message.delta.add_block.WhichOneof("type") == "popover":
            self.run.popovers.append(message.delta.add_block.popover)
        elif kind == "script_finished" and self.run.begun:
            self.run.ended = message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
        elif kind == "file_urls_response" and message.file_urls_response.response_id == self._behind:
            self._behind, self._rounds = str(uuid.uuid4()), max(0, self._rounds - 1)
        elif kind == "file_urls_response":
            self._answers[message.file_urls_response.response_id] = message
        elif kind == "backend_operation_response":
            self._answers[message.backend_operation_response.request_id] = message

    async def _answered(self, message: BackMsg, number: str, limit: float) -> ForwardMsg:
        """Send what is no run of the page, and return its answer."""
        await self._socket.send(message.SerializeToString())
        async with asyncio.timeout(limit):
            while number not in self._answers:
                self._news.clear()
                await self._news.wait()
        return self._answers.pop(number)

    async def upload(self, uploader: Any, name: str, data: bytes) -> WidgetState:
        """Send a file, as the browser does; return the state of the uploader that then holds it.

        Raises:
            RefusedError: If the server does not take it.
        """
        message, number = BackMsg(), str(uuid.uuid4())
        message.file_urls_request.request_id, message.file_urls_request.session_id = number, self._session
        message.file_urls_request.file_names.append(name)
        urls = (await self._answered(message, number, 60)).file_urls_response.file_urls[0]
        await asyncio.to_thread(_put, self.address, urls.upload_url, name, data)
        state = WidgetState(id=uploader.id)
        state.file_uploader_state_value.uploaded_file_info.add(
            name=name, size=len(data), file_id=urls.file_id, file_urls=urls
        )
        return state

    async def take_away(self, state: WidgetState) -> WidgetState:
        """Take the file of an uploader's state from the server; return the state of the empty uploader."""
        urls = state.file_uploader_state_value.uploaded_file_info[0].file_urls
        await asyncio.to_thread(_send, self.address, urls.delete_url, "DELETE")
        empty = WidgetState(id=state.id)
        empty.file_uploader_state_value.SetInParent()
        return empty

    async def download(self, button: Any, limit: float) -> bytes:
        """Return the file behind a button, which the server makes now."""
        message, number = BackMsg(), str(uuid.uuid4())
        request = message.backend_operation_request
        request.request_id, request.session_id = number, self._session
        request.deferred_file.file_id = button.deferred_file_id
        answer = (await self._answered(message, number, limit)).backend_operation_response
        assert not answer.error_msg, answer.error_msg
        return await asyncio.to_thread(_send, self.address, answer.deferred_file.url, "GET")


def _put(address: str, path: str, name: str, data: bytes) -> None:
    edge = uuid.uuid4().hex
    head = (
        f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\nContent-Type: '
        "image/jpeg\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
    _send(address, path, "PUT", body, {"Content-Type": f"multipart/form-data; boundary={edge}"})


def _send(
    address: str, path: str, method: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> bytes:
    """Ask by HTTP, with the token against forged requests that the server gives out."""
    with urllib.request.urlopen(f"{address}/_stcore/health", timeout=60) as given:
        cookie = http.cookies.SimpleCookie(given.headers["Set-Cookie"])["_streamlit_xsrf"]
    token = {"X-Xsrftoken": cookie.value, "Cookie": f"_streamlit_xsrf={cookie.coded_value}"}
    parts = urllib.parse.urlsplit(urllib.parse.urljoin(address, path))
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        # A server that refuses a file answers before it has read it, and the rest cannot be sent: the answer still
        # counts.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.request(method, parts._replace(scheme="", netloc="").geturl(), body, token | (headers or {}))
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status >= 400:
        raise RefusedError(f"{method} of {len(body or b'')} bytes: {answer.status} {content[:200]!r}")
    return content
