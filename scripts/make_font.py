#!/usr/bin/env python3
"""Makes assets/rawcat-sans.ttf.zst, the font that the charts are drawn with.

Needs: pip install fonttools==4.68.0 zstandard==0.25.0

The source is Gothic A1 Medium (SIL Open Font License 1.1, no reserved font name) as the npm
package @expo-google-fonts/gothic-a1 ships it:

    npm pack @expo-google-fonts/gothic-a1@0.4.1
    tar xzf expo-google-fonts-gothic-a1-0.4.1.tgz
    python3 scripts/make_font.py package/500Medium/GothicA1_500Medium.ttf \
        package/LICENSE_FONT assets

Why this font: its Hangul syllables are put together from shared parts, so that all 11,172 of
them take less room than the 2,350 of KS X 1001 do in most others (--report prints the sizes).
What is changed: hinting and layout tables are dropped, characters outside CHARACTERS too, the
hyphen is made shorter (dates read better), the ellipsis stands on the baseline, and the name
is another, because a modified font should not pass for the original.
"""

import argparse
import hashlib
import io
import pathlib

import zstandard
from fontTools import subset
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.transformPen import TransformPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables._c_m_a_p import CmapSubtable

SOURCE_SHA256 = "f67b1890b7cba62d635233df1e0d9b7339b7afbf2831ad53de09b3ed834dfb3c"
NAME = "Rawcat Sans"
FIXED_TIME = 3_600_000_000  # seconds since 1904; the same bytes on every run

CHARACTERS = [
    (0x20, 0x7E),  # ASCII
    (0xA0, 0xFF),  # Latin-1
    (0x100, 0x17F),  # Latin Extended-A
    (0x391, 0x3C9),  # Greek
    (0x400, 0x45F),  # Cyrillic
    (0x2010, 0x2027),  # dashes, quotes, bullet, ellipsis
    (0x2030, 0x2033),  # per mille, primes
    (0x20A9, 0x20AC),  # won, euro
    (0x2103, 0x2103),  # degrees Celsius
    (0x2126, 0x2126),  # ohm
    (0x2190, 0x2193),  # arrows
    (0x2212, 0x2212),  # minus
    (0x221E, 0x221E),
    (0x2248, 0x2248),
    (0x2260, 0x2265),
    (0x25A0, 0x25A1),  # squares; the white one stands for what the font has not
    (0x25CF, 0x25CF),
    (0x3000, 0x3002),
    (0x3008, 0x3011),  # East Asian brackets
    (0x3041, 0x30FE),  # kana
    (0x3131, 0x318E),  # jamo by themselves
    (0xAC00, 0xD7A3),  # every Hangul syllable
    (0xFF01, 0xFF5E),  # full-width ASCII
]


def ks_x_1001():
    """The 2,350 syllables of KS X 1001, for the comparison of sizes."""
    rows = range(0xB0, 0xC9)
    return {bytes([r, c]).decode("euc-kr") for r in rows for c in range(0xA1, 0xFF)}


def reduced(path, unicodes):
    """The font with these characters alone, no hinting and no layout."""
    font = TTFont(path, recalcTimestamp=False)
    options = subset.Options()
    options.hinting = False
    options.layout_features = []
    options.glyph_names = False
    options.notdef_outline = True
    options.name_IDs = [0, 13, 14]
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "BASE", "vhea", "vmtx", "kern", "DSIG", "gasp"]
    worker = subset.Subsetter(options)
    worker.populate(unicodes=unicodes)
    worker.subset(font)
    return font


def redraw(font, target, parts):
    """Draws glyph `target` anew from (glyph, transform) parts; returns nothing."""
    glyphs = font.getGlyphSet()
    pen = TTGlyphPen(None)
    for name, transform in parts:
        recording = DecomposingRecordingPen(glyphs)
        glyphs[name].draw(recording)
        recording.replay(TransformPen(pen, transform))
    font["glyf"][target] = pen.glyph()


def adjust(font):
    """A shorter hyphen, and an ellipsis of three full stops."""
    cmap, hmtx = font.getBestCmap(), font["hmtx"]
    hyphen = cmap[0x2D]
    advance, _ = hmtx[hyphen]
    redraw(font, hyphen, [(hyphen, (0.66, 0, 0, 1, 0, -34))])
    hmtx[hyphen] = (round(advance * 0.66), 0)
    stop, ellipsis = cmap[0x2E], cmap[0x2026]
    step, _ = hmtx[stop]
    redraw(font, ellipsis, [(stop, (1, 0, 0, 1, step * i, 0)) for i in range(3)])
    hmtx[ellipsis] = (step * 3, 0)
    for name in (hyphen, ellipsis):
        font["glyf"][name].recalcBounds(font["glyf"])
        hmtx[name] = (hmtx[name][0], font["glyf"][name].xMin)


def simplify(font):
    """The reader in src/chart/font.rs knows components that are moved, and no others: glyphs with
    scaled or nested components are drawn out. Returns how many."""
    glyf = font["glyf"]

    def is_plain(glyph):
        return all(
            hasattr(part, "x")
            and not hasattr(part, "transform")
            and not glyf[part.glyphName].isComposite()
            for part in glyph.components
        )

    names = [n for n in font.getGlyphOrder() if glyf[n].isComposite() and not is_plain(glyf[n])]
    for name in names:
        redraw(font, name, [(name, (1, 0, 0, 1, 0, 0))])
    return len(names)


def finish(font):
    """One character map (format 12), our name, a fixed time; returns the bytes."""
    table = CmapSubtable.newSubtable(12)
    table.platformID, table.platEncID, table.language = 3, 10, 0
    table.format, table.reserved, table.length, table.nGroups = 12, 0, 0, 0
    table.cmap = font.getBestCmap()
    font["cmap"].tables = [table]
    names = font["name"]
    kept = {n.nameID: n.toUnicode() for n in names.names if n.langID == 0x409}
    font["name"] = newTable("name")
    font["name"].names = []
    for number, text in sorted((kept | {1: NAME, 2: "Medium", 4: NAME, 6: NAME.replace(" ", "")}).items()):
        font["name"].setName(text, number, 3, 1, 0x409)
    font["head"].created = font["head"].modified = FIXED_TIME
    out = io.BytesIO()
    font.save(out)
    return out.getvalue()


def pack(raw):
    return zstandard.ZstdCompressor(level=22).compress(raw)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("licence", type=pathlib.Path)
    parser.add_argument("assets", type=pathlib.Path)
    parser.add_argument("--report", action="store_true", help="also print the size with KS X 1001 alone")
    args = parser.parse_args()

    digest = hashlib.sha256(args.source.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        raise SystemExit(f"{args.source} is another file: sha256 {digest}, expected {SOURCE_SHA256}")

    unicodes = {u for first, last in CHARACTERS for u in range(first, last + 1)}
    font = reduced(args.source, unicodes)
    adjust(font)
    drawn_out = simplify(font)
    raw = finish(font)
    packed = pack(raw)
    (args.assets / "rawcat-sans.ttf.zst").write_bytes(packed)
    (args.assets / "rawcat-sans-OFL.txt").write_bytes(args.licence.read_bytes())
    print(f"{len(font.getBestCmap())} characters, {len(raw)} bytes, packed {len(packed)}, "
          f"{drawn_out} composites drawn out")

    if args.report:
        common = {u for u in unicodes if not 0xAC00 <= u <= 0xD7A3} | {ord(c) for c in ks_x_1001()}
        font = reduced(args.source, common)
        adjust(font)
        simplify(font)
        raw = finish(font)
        print(f"with KS X 1001 alone: {len(raw)} bytes, packed {len(pack(raw))}")


if __name__ == "__main__":
    main()
