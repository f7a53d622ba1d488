"""Fonts of coloured squares, made with fonttools."""

import io

from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import newTable
from fontTools.ttLib.tables._g_l_y_f import Glyph
from fontTools.ttLib.tables.BitmapGlyphMetrics import SmallGlyphMetrics
from fontTools.ttLib.tables.C_B_D_T_ import cbdt_bitmap_format_17
from fontTools.ttLib.tables.E_B_L_C_ import BitmapSizeTable, SbitLineMetrics, Strike, eblc_index_sub_table_1
from PIL import Image

SIZE = (136, 128)
LINE = ("ascender", "descender", "widthMax", "caretSlopeNumerator", "caretSlopeDenominator", "caretOffset")
BOUNDS = ("minOriginSB", "minAdvanceSB", "maxBeforeBL", "minAfterBL", "pad1", "pad2")


def square(colour):
    """Return a PNG of a square of one colour with a transparent frame."""
    image = Image.new("RGBA", SIZE)
    image.paste(Image.new("RGBA", (96, 96), colour), (20, 16))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def bitmap_font(path, drawings):
    """Write a font with a drawing for each code point, and the letter A without one."""
    names = {point: f"u{point:X}" for point in drawings}
    order = [".notdef", *names.values(), "A"]
    builder = FontBuilder(2048, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap({**names, ord("A"): "A"})
    builder.setupGlyf({name: Glyph() for name in order})
    builder.setupHorizontalMetrics(dict.fromkeys(order, (2550, 0)))
    builder.setupHorizontalHeader(ascent=950, descent=-250)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    if drawings:
        builder.font["CBDT"], builder.font["CBLC"] = _bitmaps(builder.font, names, drawings)
    builder.save(path)
    return path


def _bitmaps(font, names, drawings):
    data, places = newTable("CBDT"), newTable("CBLC")
    data.version = places.version = 3.0
    data.strikeData = [{}]
    for point, colour in drawings.items():
        glyph = cbdt_bitmap_format_17(b"", font)
        glyph.metrics = SmallGlyphMetrics()
        width, height = SIZE
        sizes = {"height": height, "width": width, "BearingX": 0, "BearingY": 101, "Advance": width}
        vars(glyph.metrics).update(sizes)
        glyph.imageData = square(colour)
        data.strikeData[0][names[point]] = glyph
    strike = Strike()
    size = strike.bitmapSizeTable = BitmapSizeTable()
    vars(size).update(colorRef=0, startGlyphIndex=1, endGlyphIndex=len(names), ppemX=109, ppemY=109, bitDepth=32)
    size.flags = 1
    size.hori, size.vert = SbitLineMetrics(), SbitLineMetrics()
    for metrics in (size.hori, size.vert):
        vars(metrics).update(dict.fromkeys(LINE + BOUNDS, 0))
    index = eblc_index_sub_table_1(b"", font)
    vars(index).update(names=list(names.values()), indexFormat=1, imageFormat=17, locations=[(0, 0)] * len(names))
    vars(index).update(firstGlyphIndex=1, lastGlyphIndex=len(names))
    strike.indexSubTables = [index]
    places.strikes = [strike]
    return data, places
