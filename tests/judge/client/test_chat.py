"""The client against a real server on loopback that fails in every way that servers do."""

import email.utils
import json
import logging
import os
import socket
import threading
import time
import traceback
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.judge.base import ChatRequest, JudgeError, Reply
from reasoning_lab.judge.client.chat import OpenAIChat
from tests.judge.server import Exchange, Script, serve
from tests.judge.test_openai import BASE, KEY


def questions(n: int) -> list[ChatRequest]:
    return [ChatRequest(f"question {number}") for number in range(n)]


def echo(exchange: Exchange) -> None:
    exchange.reply(exchange.prompt.upper())


def then_echo(*scripts: Script) -> Script:
    """The n-th request is answered by the n-th script, the rest in good order."""
    return lambda exchange: (*scripts, echo)[min(exchange.number, len(scripts))](exchange)


def ask(
    script: Script, folder: Path, requests: list[ChatRequest], **changes: Any
) -> tuple[list[Reply], OpenAIChat, Any]:
    with serve(script) as server:
        chat = OpenAIChat(replace(BASE, base_url=server.url, **changes), folder)
        return chat.ask(requests), chat, server


# -- in good order -----------------------------------------------------------------------------------------------------


def test_replies_come_in_the_order_of_the_requests_and_equal_ones_are_sent_once(tmp_path: Path) -> None:
    def late_first(exchange: Exchange) -> None:
        time.sleep(0.1 if exchange.prompt.endswith("0") else 0.0)
        echo(exchange)

    requests = questions(5) + questions(2)
    replies, chat, server = ask(late_first, tmp_path, requests)
    assert [reply.text for reply in replies] == [request.prompt.upper() for request in requests]
    assert (chat.usage.asked, chat.usage.sent, len(server.requests)) == (5, 5, 5)
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens, chat.spent) == (50, 25, 75)


def test_the_body_has_the_options_and_nothing_else(tmp_path: Path) -> None:
    _, _, server = ask(echo, tmp_path / "a", questions(1), extra={"reasoning_effort": "low"})
    user = {"role": "user", "content": "question 0"}
    assert server.requests == [
        {"model": "m", "messages": [user], "temperature": 1.0, "max_completion_tokens": 100, "reasoning_effort": "low"}
    ]
    assert server.authorisations == [None]
    _, _, server = ask(echo, tmp_path / "b", questions(1), temperature=None, length_parameter="max_tokens")
    assert server.requests == [{"model": "m", "messages": [user], "max_tokens": 100}]


def test_requests_are_in_flight_together_up_to_the_limit(tmp_path: Path) -> None:
    together, lock, live, most = threading.Barrier(4), threading.Lock(), [0], [0]

    def meet(exchange: Exchange) -> None:
        with lock:
            live[0] += 1
            most[0] = max(most[0], live[0])
        together.wait(10)  # Only four at a time get past.
        with lock:
            live[0] -= 1
        echo(exchange)

    replies, _, _ = ask(meet, tmp_path, questions(8), concurrency=4)
    assert all(reply.text for reply in replies)
    assert most == [4]


def test_a_second_run_sends_nothing(tmp_path: Path) -> None:
    first, _, server = ask(echo, tmp_path, questions(6))
    with serve(echo) as again:
        # The address is part of what a reply is kept under.
        other = OpenAIChat(replace(BASE, base_url=again.url), tmp_path)
        assert [reply.cached for reply in other.ask(questions(1))] == [False]
    chat = OpenAIChat(replace(BASE, base_url=server.url), tmp_path)  # That server is down.
    assert chat.estimate(questions(7)).sent == 1
    second = chat.ask(questions(6))
    assert [reply.text for reply in second] == [reply.text for reply in first]
    assert (chat.usage.cached, chat.usage.sent, chat.usage.prompt_tokens, chat.spent) == (6, 0, 0, 0)


def test_draws_models_and_parameters_are_kept_apart(tmp_path: Path) -> None:
    with serve(lambda exchange: exchange.reply(str(exchange.number))) as server:
        option = replace(BASE, base_url=server.url, concurrency=1)
        one, two = OpenAIChat(option, tmp_path).ask([ChatRequest("q"), ChatRequest("q", repetition=1)])
        assert (one.text, two.text) == ("0", "1")
        for number, change in enumerate(
            [{"model": "n"}, {"temperature": 0.5}, {"extra": {"seed": 1}}, {"max_tokens": 9}]
        ):
            (reply,) = OpenAIChat(replace(option, **change), tmp_path).ask([ChatRequest("q")])
            assert reply.text == str(number + 2)
        # Limits and patience don't change a reply.
        (reply,) = OpenAIChat(replace(option, retries=9, timeout_s=1.0, cap_tokens=9**9), tmp_path).ask(
            [ChatRequest("q")]
        )
        assert reply.cached and reply.text == "0"


def test_a_reply_cut_off_or_empty_is_a_counted_reply_and_kept(tmp_path: Path) -> None:
    """A model that spends all its tokens on thoughts answers null: paid for, unparsable, and not to be paid again."""
    replies, chat, _ = ask(lambda e: e.reply(None, finish="length"), tmp_path, questions(1))
    assert [(reply.text, reply.cut) for reply in replies] == [("", True)]
    assert (chat.usage.cut, chat.usage.failed) == (1, 0)
    assert chat.estimate(questions(1)).cached == 1


# -- failures that pass ------------------------------------------------------------------------------------------------


def garbage(exchange: Exchange) -> None:
    exchange.send(200, bytes(range(256)))


def raw_garbage(exchange: Exchange) -> None:
    exchange.handler.wfile.write(b"\x00\xff no HTTP at all\r\n\r\n")
    exchange.handler.close_connection = True


def hang_up(exchange: Exchange) -> None:
    exchange.hang_up()


def say_nothing(exchange: Exchange) -> None:
    exchange.handler.close_connection = True


def slow(exchange: Exchange) -> None:
    time.sleep(0.6)
    echo(exchange)


def drip(exchange: Exchange) -> None:
    """Never silent for long, and never done."""
    exchange.handler.send_response(200)
    exchange.handler.send_header("Content-Length", "100000")
    exchange.handler.end_headers()
    for _ in range(30):
        exchange.handler.wfile.write(b" ")
        time.sleep(0.05)
    exchange.handler.close_connection = True


DRIPS = {
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX-More: ", b"1"),
    "informational replies": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}
"""How a reply begins, and what then comes again and again."""


@pytest.mark.parametrize("name", DRIPS)
def test_one_deadline_bounds_all_of_an_exchange(name: str, tmp_path: Path) -> None:
    """Some bytes come every 50 ms, for 10 s; the client hangs up long before."""
    start, piece = DRIPS[name]
    heard_out: list[int] = []

    def drip(exchange: Exchange) -> None:
        exchange.handler.close_connection = True
        exchange.handler.wfile.write(start)
        for _ in range(200):
            exchange.handler.wfile.write(piece)
            time.sleep(0.05)
        heard_out.append(exchange.number)

    replies, chat, _ = ask(drip, tmp_path, questions(2), timeout_s=0.3, retries=1)
    assert [reply.failure for reply in replies] == ["no reply within 0.3 s"] * 2
    assert (chat.usage.sent, heard_out) == (4, [])


WRONG = ['{"error": {"message": "overloaded"}}', "[]", "null", '{"choices": []}', '{"choices": [{"message": {}}]}',
         '{"choices": [{"message": {"content": ["x"]}}]}', '{"choices": [{"text": "x"}]}', "[" * 100_000]  # fmt: skip
PASSING: dict[str, Script] = {
    "429": lambda e: e.fail(429),
    "500": lambda e: e.fail(500),
    "503 Retry-After": lambda e: e.fail(503, Retry_After="0"),
    "408": lambda e: e.fail(408),
    "garbage": garbage,
    "no HTTP": raw_garbage,
    "half-closed": hang_up,
    "nothing": say_nothing,
    "slow": slow,
    "drip": drip,
    "bad gzip": lambda e: e.send(200, b"no gzip", {"Content-Encoding": "gzip"}),
    **{f"wrong JSON {body[:40]}": lambda e, body=body: e.send(200, body.encode()) for body in WRONG},
}


@pytest.mark.parametrize("name", PASSING)
def test_a_failure_that_passes_is_tried_again(name: str, tmp_path: Path) -> None:
    replies, chat, server = ask(then_echo(PASSING[name]), tmp_path, questions(1), timeout_s=0.3)
    assert [reply.text for reply in replies] == ["QUESTION 0"]
    assert (chat.usage.sent, chat.usage.failed, len(server.requests)) == (2, 0, 2)


@pytest.mark.parametrize("name", PASSING)
def test_a_failure_that_stays_is_a_counted_reply_and_is_not_kept(name: str, tmp_path: Path) -> None:
    replies, chat, server = ask(PASSING[name], tmp_path, questions(2), timeout_s=0.3, retries=1)
    assert [reply.text for reply in replies] == [None, None]
    assert all(reply.failure for reply in replies)
    assert (chat.usage.failed, chat.usage.sent, chat.usage.skipped) == (2, 4, 0)
    assert len(server.requests) == 4
    assert not list(tmp_path.rglob("*.json"))


def test_one_bad_request_does_not_stop_the_others(tmp_path: Path) -> None:
    def refuse_one(exchange: Exchange) -> None:
        exchange.fail(400, "too long") if exchange.prompt.endswith("1") else echo(exchange)

    replies, chat, server = ask(refuse_one, tmp_path, questions(4))
    assert [reply.text for reply in replies] == ["QUESTION 0", None, "QUESTION 2", "QUESTION 3"]
    assert replies[1].refused and "too long" in replies[1].failure
    assert (chat.usage.failed, len(server.requests)) == (1, 4)  # It is not tried again.


def test_retry_after_holds_back_all_requests(tmp_path: Path) -> None:
    replies, _, server = ask(then_echo(lambda e: e.fail(429, Retry_After="1")), tmp_path, questions(3), concurrency=1)
    assert all(reply.text for reply in replies)
    assert server.times[1] - server.times[0] >= 1.0


def test_retry_after_may_be_a_date(tmp_path: Path) -> None:
    def later(exchange: Exchange) -> None:
        exchange.fail(503, Retry_After=email.utils.formatdate(time.time() + 1.7, usegmt=True))  # Whole seconds.

    _, _, server = ask(then_echo(later), tmp_path, questions(1), longest_wait_s=5.0)
    assert server.times[1] - server.times[0] >= 0.5


def test_a_server_that_asks_for_too_long_a_wait_has_failed(tmp_path: Path) -> None:
    replies, _, server = ask(lambda e: e.fail(429, Retry_After="3600"), tmp_path, questions(1))
    assert "3600" in replies[0].failure and len(server.requests) == 1


def test_back_off_grows(tmp_path: Path) -> None:
    _, _, server = ask(lambda e: e.fail(500), tmp_path, questions(1), retries=3, first_wait_s=0.1)
    waits = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert all(wait >= 0.05 * 2**n for n, wait in enumerate(waits))


def test_a_torn_or_altered_cache_file_is_fetched_again(tmp_path: Path) -> None:
    with serve(echo) as server:
        option = replace(BASE, base_url=server.url)
        OpenAIChat(option, tmp_path).ask(questions(4))
        files = sorted(tmp_path.rglob("*.json"))
        assert len(files) == 4
        entry = json.loads(files[2].read_text())
        entry["reply"]["text"] = "altered"
        other = json.loads(files[3].read_text())
        other["request"]["draw"] = 7
        for file, content in zip(
            files, [b"", b"\xff{", json.dumps(entry).encode(), json.dumps(other).encode()], strict=True
        ):
            file.write_bytes(content)
        chat = OpenAIChat(option, tmp_path)
        assert {reply.text for reply in chat.ask(questions(4))} == {f"QUESTION {n}" for n in range(4)}
        assert (chat.usage.sent, chat.usage.cached) == (4, 0)
        assert OpenAIChat(option, tmp_path).estimate(questions(4)).cached == 4


# -- failures that don't -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        (401, "bad key", "set a valid one"),
        (403, "no access", "may not use model m"),
        (404, "no model", "usually ends in /v1"),
        (301, "moved", "address of the API itself"),
        (204, "", "address of the API itself"),
        (429, "insufficient_quota", "no credit"),
    ],
)
def test_what_fails_for_all_is_one_error_at_once(status: int, words: str, advice: str, tmp_path: Path) -> None:
    with serve(lambda e: e.fail(status, words)) as server:
        chat = OpenAIChat(replace(BASE, base_url=server.url, concurrency=1), tmp_path)
        with pytest.raises(JudgeError) as caught:
            chat.ask(questions(20))
        assert len(server.requests) == 1
    message = str(caught.value)
    assert server.url in message and f"status {status}" in message and advice in message and "\n" not in message


def test_replies_before_a_fatal_failure_are_kept(tmp_path: Path) -> None:
    def used_up(exchange: Exchange) -> None:
        echo(exchange) if exchange.number < 3 else exchange.fail(401)

    with serve(used_up) as server:
        option = replace(BASE, base_url=server.url, concurrency=1)
        with pytest.raises(JudgeError, match="All replies so far are kept"):
            OpenAIChat(option, tmp_path).ask(questions(9))
        assert len(server.requests) == 4
        assert OpenAIChat(option, tmp_path).estimate(questions(9)).cached == 3


def test_a_request_that_every_server_refuses_is_an_error_and_not_a_table_of_blanks(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match="status 400 .unknown parameter"):
        ask(lambda e: e.fail(400, "unknown parameter"), tmp_path, questions(3))


def test_an_address_without_a_server_is_an_error_once_the_tries_are_used_up(tmp_path: Path) -> None:
    with serve(echo) as server:
        url = server.url
    chat = OpenAIChat(replace(BASE, base_url=url), tmp_path)
    with pytest.raises(JudgeError, match=r"cannot be reached .connection refused.; start the server, or correct"):
        chat.ask(questions(9))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_that_is_starting_is_waited_for(tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port refuses until the client has backed off once."""
    with serve(echo) as gone:
        port = int(gone.url.rsplit(":", 1)[1].removesuffix("/v1"))
    with ExitStack() as started:
        waited = OpenAIChat._back_off

        def start(self: OpenAIChat, *args: Any) -> None:
            monkeypatch.setattr(OpenAIChat, "_back_off", waited)
            started.enter_context(serve(echo, port))
            waited(self, *args)

        monkeypatch.setattr(OpenAIChat, "_back_off", start)
        chat = OpenAIChat(replace(BASE, base_url=f"http://{host}:{port}/v1", concurrency=1), tmp_path)
        assert [reply.text for reply in chat.ask(questions(2))] == ["QUESTION 0", "QUESTION 1"]
        assert (chat.usage.sent, chat.usage.failed) == (3, 0)


def test_what_can_not_pass_is_an_error_at_first_contact(tmp_path: Path) -> None:
    """A server that speaks no TLS, and one that says nothing: the next try would be hours here."""
    with serve(echo) as server, socket.create_server(("127.0.0.1", 0)) as silent:
        tls = server.url.replace("http:", "https:")
        mute = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
        for url, why in ((tls, "SSL"), (mute, r"no connection within 0.3 s")):
            patient = replace(BASE, base_url=url, timeout_s=0.3, first_wait_s=9999.0, longest_wait_s=9999.0)
            with pytest.raises(JudgeError, match=rf"cannot be reached .*{why}.*start the server, or correct"):
                OpenAIChat(patient, tmp_path).ask(questions(3))


# -- the cap -----------------------------------------------------------------------------------------------------------

PRICED = {"price_input": 1.0, "price_output": 10.0, "cap_tokens": None}
"""Dollars per million tokens."""


def test_the_cap_is_reserved_before_sending(tmp_path: Path) -> None:
    """Prompts of 10 bytes: at most 74 tokens in and 100 out each, $0.001074; every reply takes all of it."""
    lock, live, worst = threading.Lock(), [0], [0]

    def greedy(exchange: Exchange) -> None:
        with lock:
            live[0] += 1
            worst[0] = max(worst[0], live[0])
        time.sleep(0.05)
        with lock:
            live[0] -= 1
        exchange.reply("x", prompt_tokens=74, completion_tokens=100)

    replies, chat, server = ask(greedy, tmp_path, questions(10), concurrency=8, cap_dollars=0.0035, **PRICED)
    assert len(server.requests) == 3  # A fourth could have reached $0.0043.
    assert worst[0] <= 3
    assert chat.spent == pytest.approx(3 * 0.001074) == chat.usage.dollars
    assert chat.spent <= 0.0035
    skipped = [reply for reply in replies if reply.text is None]
    assert {(reply.failure, reply.skipped, reply.attempts) for reply in skipped} == {("cap reached", True, 0)}
    assert (chat.usage.skipped, chat.usage.failed) == (7, 0)


def test_cheap_replies_make_room_for_more(tmp_path: Path) -> None:
    """The worst case of one request is most of the cap, so they go one by one; none of them needs it."""
    replies, chat, _ = ask(echo, tmp_path, questions(10), concurrency=8, cap_dollars=0.002, **PRICED)
    assert all(reply.text for reply in replies)
    assert chat.spent == pytest.approx(10 * (10 * 1e-6 + 5 * 1e-5))


def test_a_lost_reply_counts_as_its_worst_case_and_a_refused_one_as_nothing(tmp_path: Path) -> None:
    for folder, script, cost in (("a", garbage, 3 * 0.001074), ("b", PASSING["429"], 0.0), ("c", PASSING["500"], 0.0)):
        _, chat, _ = ask(script, tmp_path / folder, questions(1), cap_dollars=1.0, **PRICED)
        assert chat.spent == pytest.approx(cost) == chat.usage.dollars
    replies, chat, server = ask(garbage, tmp_path / "d", questions(1), cap_dollars=0.0025, **PRICED)
    assert len(server.requests) == 2 and chat.spent <= 0.0025
    assert replies[0].skipped


def test_a_server_that_counts_nothing_costs_the_worst_case(tmp_path: Path) -> None:
    def uncounted(exchange: Exchange) -> None:
        exchange.send(200, b'{"choices": [{"message": {"content": "x"}}], "usage": null}')

    _, chat, _ = ask(uncounted, tmp_path, questions(1))
    assert chat.spent == 174


NO_COUNTS = ["1" + "0" * 400, "1" + "0" * 5000, "-1", '"12"', "NaN", "Infinity", "1e300", "true", "null", "[7]", "{}",
             "7.0", "100000001"]  # fmt: skip


@pytest.mark.parametrize("count", NO_COUNTS, ids=lambda count: count[:9])
def test_what_is_no_count_costs_the_worst_case_and_enters_no_sum(tmp_path: Path, count: str) -> None:
    """Integers of more digits than Python reads make the reply senseless: it is tried again, each time at the worst."""
    readable = len(count) < 4000
    usage = f'{{"prompt_tokens": {count}, "completion_tokens": {count}}}'
    body = f'{{"choices": [{{"message": {{"content": "x"}}}}], "usage": {usage}}}'.encode()
    terms = {**PRICED, "cap_dollars": 1.0}
    replies, chat, _ = ask(lambda e: e.send(200, body), tmp_path, questions(1), **terms)
    assert (replies[0].text, chat.usage.failed) == (("x", 0) if readable else (None, 1))
    assert chat.spent == pytest.approx((1 if readable else 3) * 0.001074)
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (0, 0)


def test_without_prices_tokens_are_capped(tmp_path: Path) -> None:
    def greedy(exchange: Exchange) -> None:
        exchange.reply("x", prompt_tokens=74, completion_tokens=100)

    _, chat, server = ask(greedy, tmp_path, questions(10), cap_tokens=600)
    assert len(server.requests) == 3 and chat.spent == 3 * 174 and chat.usage.skipped == 7


def test_the_estimate_is_what_is_not_cached(tmp_path: Path) -> None:
    with serve(echo) as server:
        option = replace(BASE, base_url=server.url, cap_dollars=1.0, **PRICED)
        OpenAIChat(option, tmp_path).ask(questions(2))
        found = OpenAIChat(option, tmp_path).estimate([*questions(4), ChatRequest("a" * 400, expected_tokens=50)])
    assert (found.asked, found.cached, found.sent) == (5, 2, 3)
    assert (found.prompt_tokens, found.completion_tokens) == (3 + 3 + 100, 100 + 100 + 50)
    assert found.dollars == pytest.approx((106 + 2500) / 1e6)


# -- the key -----------------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    """A server that repeats the key in every way, an error at every turn, tracebacks with local variables."""
    monkeypatch.setenv("PLANTED", KEY)
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    escaped = KEY.replace("s", "\\u0073", 1)

    def leak(exchange: Exchange) -> None:
        sent = exchange.handler.headers["Authorization"]
        scripts = [
            lambda: exchange.reply(f"You said {sent}."),
            lambda: exchange.send(200, b'{"choices": [{"message": {"content": "%s"}}]}' % escaped.encode()),
            lambda: exchange.send(500, f"<h1>{sent}</h1>".encode()),
            lambda: exchange.handler.wfile.write(f"{sent} is no HTTP\r\n\r\n".encode()),
            lambda: exchange.fail(400, f"bad key {sent}"),
            lambda: exchange.fail(401, f"bad key {sent}"),
        ]
        scripts[int(exchange.prompt.split()[-1])]()

    with serve(leak) as server:
        option = replace(BASE, base_url=server.url, api_key_env="PLANTED", retries=0)
        chat = OpenAIChat(option, tmp_path)
        shown += [repr(chat.ask([ChatRequest(f"question {n}") for n in range(4)])), repr(chat.usage), repr(option)]
        shown += [repr(option.identity()), repr(vars(chat)), repr(option.key()), str(option.key())]
        for question in ("question 4", "question 5"):
            try:
                chat.ask([ChatRequest(question)])
            except JudgeError as error:
                shown += _everything(error)
        assert server.authorisations == [f"Bearer {KEY}"] * 6
    for url in (server.url, "http://127.0.0.1:1/v1"):  # No server any more.
        try:
            OpenAIChat(replace(option, base_url=url), tmp_path / "other").ask(questions(2))
        except JudgeError as error:
            shown += _everything(error)
    assert len(shown) >= 15 and any("cannot be reached" in text for text in shown)
    output = capsys.readouterr()
    shown += [caplog.text, output.out, output.err]
    shown += [file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
    assert any("***" in text for text in shown)
    for text in shown:
        assert KEY not in text and escaped not in text


def _everything(error: BaseException) -> list[str]:
    """A traceback as the most talkative printers show it: with local variables, and with all that led to it."""
    assert error.__traceback__ is not None
    below = error.__traceback__.tb_next  # The test's own frame holds what the server received.
    captured = traceback.TracebackException(type(error), error, below, capture_locals=True)
    shown = ["".join(captured.format()), repr(error)]
    seen: BaseException | None = error
    while seen is not None:
        tracebacks = traceback.walk_tb(below if seen is error else seen.__traceback__)
        shown += [repr(frame.f_locals) for frame, _ in tracebacks]
        seen = seen.__cause__ or seen.__context__
    assert len(shown) > 3
    return shown


def test_a_failing_disk_shows_no_key_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    (tmp_path / "cache").write_text("a file where a folder should be")
    with serve(echo) as server:
        chat = OpenAIChat(replace(BASE, base_url=server.url, api_key_env="PLANTED"), tmp_path / "cache")
        with pytest.raises(OSError) as caught:
            chat.ask(questions(3))
    assert all(KEY not in text for text in _everything(caught.value))


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    replies, _, _ = ask(echo, tmp_path, questions(1))
    assert replies[0].text == "QUESTION 0"
    assert os.environ["http_proxy"]
