#!/usr/bin/env python3
"""Makes a table of 200 apartment complexes (단지), as Korean public data comes: once in CP949, once in UTF-8.

    python3 sample_data/make_danji.py            # writes danji.csv and danji-utf8.csv beside this script
    python3 sample_data/make_danji.py --check    # compares what is there, writes nothing

Nothing goes in. Out come the same rows twice: `danji.csv` in CP949 and `danji-utf8.csv` in UTF-8 with a byte order
mark, lines ended by CR LF, as spreadsheets write them. Everything in them is invented: the city, its districts and
streets, the complexes, and telephone numbers that no exchange gives out. Needs nothing but the standard library of
Python 3.9 or later, and makes the same bytes on every machine.

What is hard about such files is in here on purpose: codes and telephone numbers with zeros in front, which are no
numbers; cells with commas, quotes and line breaks; empty cells; and letters that CP949 has and EUC-KR has not.

Exit code 0: written, or as it should be. 1: something differs.
"""

import argparse
import csv
import io
import sys
from datetime import date, timedelta
from pathlib import Path
from random import Random

SEED = "rawcat danji 1"
ROWS = 200
COLUMNS = [
    "단지코드", "단지명", "법정동주소", "도로명주소", "세대수", "동수", "사용승인일", "위도", "경도", "관리사무소전화", "비고",
]
CITY = "누리가온시"
# Each district with its number, which telephone numbers show, and its dongs.
DISTRICTS = [
    ("해밀내구", 31, ["여우비동", "가람솔동", "늘해동"]),
    ("물빛언구", 32, ["은결나래동", "모래톱골동", "두루봄동"]),
    ("솔여울구", 33, ["똠방골동", "도담누리동"]),
    ("바람재구", 34, ["펲시내동", "윤슬머리동", "온새미동"]),
]
STREETS = ["여우비로", "가람솔길", "은결나래로", "두루봄길", "똠방골로", "윤슬머리길", "온새미로"]
NAMES = [
    "여우비뜰", "가람솔채", "은결나래마루", "모래톱쉼", "두루봄결", "윤슬머리집", "온새미울", "도담누리안", "늘해뜨락", "해밀내숲",
    # Letters of CP949 alone.
    "똠방각하", "펲시내울", "뷁작골", "햏빛언덕", "쀍나무골",
]
KINDS = ["아파트", "타운", "마을", "파크"]
NOTES = [
    "지하주차장 입구, 정문 옆",
    "정문: 여우비로\n후문: 가람솔길",
    '주민 사이에서는 "뜰안"으로 불림',
    "재건축 추진 중, 세대수는 사용승인 당시",
    "관리사무소 1층\n점심시간 12:00, 13:00",
]
NOTES_EVERY = 11
FIRST_DAY, DAYS = date(1978, 3, 2), 16_500
LATITUDE, LONGITUDE = 37.41, 126.83


class Draw:
    """Draws by `Random.random` alone, whose sequence no Python version has changed."""

    def __init__(self):
        self.random = Random(SEED).random

    def below(self, end):
        return int(self.random() * end)

    def pick(self, items):
        return items[self.below(len(items))]


def make_rows():
    draw, rows = Draw(), []
    for number in range(ROWS):
        district, exchange, dongs = draw.pick(DISTRICTS)
        dong = draw.pick(dongs)
        name = f"{NAMES[number % len(NAMES)]}{1 + number // len(NAMES)}단지{draw.pick(KINDS)}"
        buildings = 1 + draw.below(24)
        lot = f"{1 + draw.below(980)}" + draw.pick(["", f"-{1 + draw.below(40)}"])
        rows.append([
            # Zeros in front: who takes it for a number loses them.
            f"{4_100 + 37 * number:08d}",
            name,
            f"{CITY} {district} {dong} {lot}",
            f"{CITY} {district} {draw.pick(STREETS)} {1 + draw.below(400)}",
            str(buildings * (38 + draw.below(90))),
            str(buildings),
            (FIRST_DAY + timedelta(days=draw.below(DAYS))).isoformat(),
            f"{LATITUDE + draw.below(200_000) / 1e6:.6f}",
            f"{LONGITUDE + draw.below(300_000) / 1e6:.6f}",
            # Of the small ones some have no office.
            "" if buildings < 3 and draw.below(2) else f"02-0{exchange}-{draw.below(10_000):04d}",
            NOTES[number // NOTES_EVERY % len(NOTES)] if number % NOTES_EVERY == 3 else "",
        ])
    return rows


def text_of(rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def check_story(rows):
    """What README.md says of the files."""
    assert len(rows) == ROWS and len({row[0] for row in rows}) == ROWS
    assert all(row[0].startswith("0") for row in rows)
    cells = [cell for row in rows for cell in row]
    assert any("," in cell for cell in cells) and any("\n" in cell for cell in cells) and any('"' in cell for cell in cells)
    assert any(row[9] == "" for row in rows)
    # EUC-KR has both bytes from A1 on. Python's own `euc_kr` is no judge: it spells the missing syllables out.
    pairs = [letter.encode("cp949") for letter in set("".join(cells)) if ord(letter) > 127]
    assert any(min(pair) < 0xA1 for pair in pairs), "without such a letter the file is EUC-KR"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare the files with what would be written, and write nothing")
    args = parser.parse_args()
    rows = make_rows()
    check_story(rows)
    text, here = text_of(rows), Path(__file__).resolve().parent
    files = {here / "danji.csv": text.encode("cp949"), here / "danji-utf8.csv": text.encode("utf-8-sig")}
    for path, content in files.items():
        if not args.check:
            path.write_bytes(content)
        elif not path.exists() or path.read_bytes() != content:
            sys.exit(f"error: {path} is not as it should be; run this script without --check to write it anew")
    print(f"{len(rows)} complexes {'as they should be' if args.check else 'written'}, in {len(files)} encodings")


if __name__ == "__main__":
    main()
