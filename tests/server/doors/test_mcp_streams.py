from server.doors.mcp_streams import MOST_TEXT, SHORTENED, Gathered


def gather(*pieces):
    gathered = Gathered()
    told = [gathered.add(piece) for piece in pieces]
    return gathered, told


def test_a_log_read_at_once_is_no_progress_but_the_result():
    gathered, told = gather({"text": "a\nb\n"}, {"done": True, "status": "failed", "exit_code": 3})
    assert told == ["", ""]
    assert gathered.content() == {
        "text": "a\nb\n",
        "notes": None,
        "end": {"status": "failed", "exit_code": 3},
        "cut": None,
    }
    assert gathered.as_text(None).splitlines()[-2:] == ["status: failed", "exit_code: 3"]


def test_of_a_long_stream_the_end_is_kept():
    gathered, _ = gather(*({"line": f"line {i:06}"} for i in range(20_000)))
    content = gathered.content()
    assert len(content["text"]) <= MOST_TEXT
    assert content["text"].startswith("line ")
    assert content["text"].endswith("line 019999\n")
    assert content["cut"] == SHORTENED


def test_one_endless_line_is_cut_too():
    gathered, _ = gather({"text": "x" * 300_000})
    assert len(gathered.content()["text"]) == MOST_TEXT


def test_notes_are_kept_apart_from_the_log():
    gathered, told = gather({"pod": "web-1", "note": "not started"}, {"line": "a"})
    assert told == ["[web-1] not started", "a"]
    assert gathered.content()["notes"] == ["[web-1] not started"]
    assert gathered.content()["text"] == "a\n"
