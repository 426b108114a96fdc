"""Whole games in the 33 columns of v2 files, made by a plain loop that also writes down who is on the floor at every event."""
import csv
import io
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random

HAWKS, CELTICS = 1610612737, 1610612738
HEADER = ["GAME_ID", "EVENTNUM", "EVENTMSGTYPE", "EVENTMSGACTIONTYPE", "PERIOD", "WCTIMESTRING", "PCTIMESTRING", "HOMEDESCRIPTION",
          "NEUTRALDESCRIPTION", "VISITORDESCRIPTION", "SCORE", "SCOREMARGIN",
          *(f"{stem.format(i)}" for i in (1, 2, 3) for stem in ("PERSON{}TYPE", *(f"PLAYER{{}}_{c}" for c in (
              "ID", "NAME", "TEAM_ID", "TEAM_CITY", "TEAM_NICKNAME", "TEAM_ABBREVIATION"))))]
TEAMS = {HAWKS: ("Atlanta", "Hawks", "ATL"), CELTICS: ("Boston", "Celtics", "BOS")}
THROWS = {"personal": {1: [10], 2: [11, 12], 3: [13, 14, 15]}, "technical": {1: [16]}, "flagrant": {2: [18, 19]},
          "clear path": {2: [25, 26]}}


@dataclass
class Game:
    """A game under way: rows of the file, and the truth about each."""

    random: Random
    game_id: str
    tied: bool = False  # after four periods
    seconds: int = 720  # of each period in which something happens
    teams: tuple[int, int] = (HAWKS, CELTICS)
    rows: list[dict] = field(default_factory=list)
    floor: list[tuple[frozenset, frozenset]] = field(default_factory=list)  # home and visiting five at each row
    score: list[int] = field(default_factory=lambda: [0, 0])
    period: int = 0
    clock: int = 0

    def __post_init__(self):
        self.squad = [[1000 * (t - HAWKS + 1) + i for i in range(10)] for t in self.teams]
        self.fives = [list(s[:5]) for s in self.squad]

    def row(self, kind, action=0, side=None, words="", *, people=(), theirs="", team=False, told=False, own=(0, 0, 0)):
        """Writes a row; `own` tells for each person whether he is of the other side (1)."""
        text = ["", ""] if side is None else [words, theirs] if side == 0 else [theirs, words]
        row = dict.fromkeys(HEADER, "") | {
            "GAME_ID": self.game_id, "EVENTNUM": str(len(self.rows) * 2), "EVENTMSGTYPE": str(kind), "EVENTMSGACTIONTYPE": str(action),
            "PERIOD": str(self.period), "WCTIMESTRING": "8:12 PM", "PCTIMESTRING": f"{self.clock // 60}:{self.clock % 60:02d}",
            "HOMEDESCRIPTION": text[0], "VISITORDESCRIPTION": text[1], "PERSON1TYPE": "0.0"}
        if told:
            margin = self.score[0] - self.score[1]
            row |= {"SCORE": f"{self.score[1]} - {self.score[0]}", "SCOREMARGIN": str(margin) if margin else "TIE"}
        for i, (who, other) in enumerate(zip((*people, 0, 0, 0)[:3], own, strict=True), 1):
            row |= {f"PERSON{i}TYPE": "0", f"PLAYER{i}_ID": str(who)}
            if who:
                club = self.teams[side ^ other]
                row |= {f"PERSON{i}TYPE": str(4 + (side ^ other)) + ".0" * (i == 1), f"PLAYER{i}_NAME": f"Al {self.name(who)}",
                        f"PLAYER{i}_TEAM_ID": f"{club}.0"}
                row |= {f"PLAYER{i}_TEAM_{c}": w for c, w in zip(("CITY", "NICKNAME", "ABBREVIATION"), TEAMS[club], strict=True)}
        if team:
            row |= {"PERSON1TYPE": f"{2 + side}.0", "PLAYER1_ID": str(self.teams[side])}
        self.rows.append(row)
        self.floor.append((frozenset(self.fives[0]), frozenset(self.fives[1])))

    @staticmethod
    def name(who):
        return "".join("ABCDEFGHIJ"[int(d)] for d in str(who)).title()

    def swap(self, side):
        """Replaces a player."""
        out, into = self.random.choice(self.fives[side]), self.random.choice([p for p in self.squad[side] if p not in self.fives[side]])
        self.fives[side][self.fives[side].index(out)] = into
        self.row(8, 0, side, f"SUB: {self.name(into)} FOR {self.name(out)}", people=(out, into))

    def throws(self, side, kind, number, shooter):
        """Shoots free throws, with substitutes in between and the source's phantom rebounds; returns whether the last went in."""
        for k, action in enumerate(THROWS[kind][number], 1):
            good, which = self.random.random() < 0.7, {"technical": "Technical", "personal": ""}.get(kind, kind.title() + " ")
            words = f"{self.name(shooter)} Free Throw {which}" + (f"{k} of {number}" if kind != "technical" else "")
            self.score[side] += good
            self.row(3, action, side, f"{words} (1 PTS)" if good else f"MISS {words}", people=(shooter,), told=good)
            if not good and (k < number or kind != "personal"):
                self.row(4, 1, side, f"{TEAMS[self.teams[side]][1].upper()} Rebound", team=True)
            if k < number and self.random.random() < 0.3:
                self.swap(1 - side)
        return good

    def rebound(self, side):
        """Gives a live ball to somebody; returns his side."""
        taker = side if self.random.random() < 0.3 else 1 - side
        if self.random.random() < 0.15:
            self.row(4, 0, taker, f"{TEAMS[self.teams[taker]][1].upper()} Rebound", team=True)
        else:
            who = self.random.choice(self.fives[taker])
            self.row(4, 0, taker, f"{self.name(who)} REBOUND (Off:0 Def:1)", people=(who,))
        return taker

    def attack(self, side):
        """Plays on until something happens; returns who has the ball then."""
        draw, foe = self.random.random(), 1 - side
        one, mate = self.random.sample(self.fives[side], 2)
        other, bench = self.random.choice(self.fives[foe]), self.random.choice([p for p in self.squad[foe] if p not in self.fives[foe]])
        if draw < 0.40:
            value, assist = self.random.choice([2, 2, 3]), self.random.random() < 0.5
            self.score[side] += value
            words = f"{self.name(one)} {24 if value == 3 else 12}' {'3PT ' if value == 3 else ''}Jump Shot ({value} PTS)"
            self.row(1, 1, side, words + f" ({self.name(mate)} 1 AST)" * assist, people=(one, mate * assist), told=True)
            if self.random.random() < 0.1:
                self.row(6, 2, foe, f"{self.name(other)} S.FOUL (P1.T1) (A.Referee)", people=(other, one), own=(0, 1, 0))
                return foe if self.throws(side, "personal", 1, one) else self.rebound(side)
            return foe
        if draw < 0.70:
            block = self.random.random() < 0.2
            self.row(2, 5, side, f"MISS {self.name(one)} 2' Layup", people=(one, 0, other * block),
                     theirs=f"{self.name(other)} BLOCK (1 BLK)" * block, own=(0, 0, 1))
            return self.rebound(side)
        if draw < 0.80:
            if self.random.random() < 0.2:
                self.row(5, 11, side, f"{TEAMS[self.teams[side]][1].upper()} Turnover: Shot Clock (T#2)", team=True)
            elif self.random.random() < 0.3:
                self.row(6, 4, side, f"{self.name(one)} OFF.Foul (P1) (A.Referee)", people=(one, other), own=(0, 1, 0))
                self.row(5, 37, side, f"{self.name(one)} Foul Turnover (P1.T2)", people=(one,))
            else:
                self.row(5, 1, side, f"{self.name(one)} Bad Pass Turnover (P1.T1)", people=(one, other),
                         theirs=f"{self.name(other)} STEAL (1 STL)", own=(0, 1, 0))
            return foe
        return self.whistle(side, foe, one, other, bench)

    def whistle(self, side, foe, one, other, bench):
        """Fouls and other interruptions; returns who has the ball then."""
        kind = self.random.choices(["shooting", "personal", "technical", "flagrant", "clear path", "away", "jump", "timeout", "kicked"],
                                   [9, 4, 2, 1, 1, 1, 2, 2, 1])[0]
        if kind == "timeout":
            self.row(9, 1, side, f"{TEAMS[self.teams[side]][1].upper()} Timeout: Regular (Full 1 Short 0)", team=True)
        elif kind == "kicked":
            self.row(7, 5, foe, f"{self.name(other)} Violation:Kicked Ball (A.Referee)", people=(other,))
        elif kind == "jump":
            jumpers = (one, other) if side == 0 else (other, one)
            wins = self.random.randrange(2)
            self.row(10, 0, 0, f"Jump Ball {self.name(jumpers[0])} vs. {self.name(jumpers[1])}: Tip to {self.name(jumpers[wins])}",
                     people=(*jumpers, jumpers[wins]), own=(0, 1, wins))
            return wins
        elif kind == "technical":  # of somebody on the bench
            self.row(6, 11, foe, f"{self.name(bench)} T.FOUL (P1.T1) (A.Referee)", people=(bench,))
            self.throws(side, "technical", 1, one)
        else:
            action, words = {"shooting": (2, "S.FOUL"), "personal": (1, "P.FOUL"), "away": (6, "AWAY.FROM.PLAY.FOUL"),
                             "flagrant": (14, "FLAGRANT.FOUL.TYPE1"), "clear path": (9, "C.P.FOUL")}[kind]
            self.row(6, action, foe, f"{self.name(other)} {words} (P1.T1) (A.Referee)", people=(other, one), own=(0, 1, 0))
            if kind in ("flagrant", "clear path"):
                self.throws(side, kind, 2, one)
            elif kind == "away":
                self.throws(side, "personal", 1, one)
            elif kind == "shooting":
                number = self.random.choice([2, 2, 3])
                return foe if self.throws(side, "personal", number, one) else self.rebound(side)
        if self.random.random() < 0.6:
            self.swap(self.random.randrange(2))
        return side

    def catch_up(self, side):
        """Scores for one side, and lets the other lose the ball."""
        one, other, value = self.fives[side][0], self.fives[1 - side][0], min(2, abs(self.score[0] - self.score[1]))
        self.score[side] += value
        if value == 2:
            self.row(1, 1, side, f"{self.name(one)} 12' Jump Shot (2 PTS)", people=(one,), told=True)
        else:
            self.row(3, 16, side, f"{self.name(one)} Free Throw Technical (1 PTS)", people=(one,), told=True)
        self.row(5, 1, 1 - side, f"{self.name(other)} Bad Pass Turnover (P1.T1)", people=(other,))

    def play_period(self):
        """Plays a period; a five that is not the one that ended the last period shows itself by fouls."""
        self.period += 1
        self.clock = 720 if self.period <= 4 else 300
        fresh = []
        for side in (0, 1):
            if self.period == 1 or self.random.random() < 0.7:
                self.fives[side] = self.random.sample(self.squad[side], 5)
                fresh += self.fives[side]
        self.row(12)
        if self.period == 1 or self.period > 4:
            a, b = self.fives[0][0], self.fives[1][0]
            self.row(10, 0, 0, f"Jump Ball {self.name(a)} vs. {self.name(b)}: Tip to {self.name(a)}", people=(a, b, a), own=(0, 1, 0))
        for who in fresh:
            side = int(who in self.squad[1])
            self.row(6, 1, side, f"{self.name(who)} P.FOUL (P1.T1) (A.Referee)", people=(who,))
        ball, self.clock = self.random.randrange(2), min(self.clock, self.seconds)
        while (clock := self.clock - self.random.randint(4, 24)) > 0:
            self.clock = clock
            ball = self.attack(ball)
        while self.tied and self.period == 4 and self.score[0] != self.score[1]:
            self.catch_up(int(self.score[0] > self.score[1]))
        self.clock = 0
        self.row(13, told=True)


@cache
def make_game(seed: int, tied: bool = False, seconds: int = 720) -> Game:
    """Plays a game; the same seed plays the same."""
    game = Game(Random(seed), f"00215{seed:05d}", tied, seconds)
    while game.period < 4 or game.score[0] == game.score[1]:
        game.play_period()
    return game


def lines(rows: list[dict]) -> list[str]:
    """Writes rows as the lines of a CSV file, the header first."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().splitlines()


def write(path: Path, rows: list[dict]) -> Path:
    """Writes a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines(rows)) + "\n", encoding="utf-8")
    return path
