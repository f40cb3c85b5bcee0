"""Writes what GLib itself parses and prints, as JSON: the expected values of text.test.ts.

/usr/bin/python3 golden.py > glib-2.74.json
(Debian packages python3-gi and gir1.2-glib-2.0)
"""
import json
import random
import struct
import gi

gi.require_version("GLib", "2.0")
from gi.repository import GLib

# Texts to parse, each with the type asked for or None.
TEXTS = [
    "1", "-1", "+1", "0", "-0", "007", "010", "08", "0x1f", "0X1F", "-0x10", "2147483647", "2147483648", "-2147483648", "-2147483649",
    "1.0", "1.", ".5", "-.5", "1e5", "1E5", "1e", "1.5.2", "1e400", "-1e400", "inf", "-inf", "+inf", "nan", "-nan", "infinity", "0.1", "1x", "1..", "--5", "99999999999999999999",
    "byte 5", "byte 0x05", "byte 256", "byte -1", "int16 -32768", "int16 32768", "uint16 65535", "uint16 65536", "uint16 -1",
    "int32 5", "uint32 4294967295", "uint32 4294967296", "handle 3", "handle -3", "int64 9223372036854775807", "int64 9223372036854775808", "int64 -9223372036854775808",
    "uint64 18446744073709551615", "uint64 18446744073709551616", "double 5", "double 0x10", "uint64 -0", "int64 1.5", "double 1e3",
    "true", "false", "boolean true", "True", "boolean 1",
    "'a'", '"a"', "'it\\'s'", '"it\'s"', "'\\n\\t\\a\\b\\f\\r\\v\\\\\\x'", "'\\u00e9'", "'\\U0001f600'", "'\\u00'", "'\\u0000'", "'\\ud800'", "'\\U00110000'", "'é😀'", "'a", "'", "''", "'a' 'b'", "'line\\\ncontinued'",
    "string 'a'", "objectpath '/a/b'", "objectpath 'a'", "objectpath '/'", "objectpath '/a/'", "signature 'a{sv}'", "signature ''", "signature 'a'", "signature '(yy)s'",
    "b'abc'", 'b"abc"', "b''", "b'\\001\\377\\'\\\\'", "b'é'", "b'a\\000b'", "b'\\n\\q\\8'", "b'\\1234'", "b'a", "bytes", "b 'a'", "b'\\777'",
    "[]", "@as []", "@as ['a']", "[1, 2]", "[1,2,]", "[,1]", "[1 2]", "[1, 2.5]", "[1, 'a']", "['a', \"b\"]", "[byte 1, 2]", "[1, byte 2]", "[byte 1, byte 2]", "[int16 1, int32 2]",
    "[[], [1]]", "[[], []]", "[@ai [], [1]]", "[true, false]", "[uint32 1, 2, 3]", "[b'a', b'bc']", "[b'a', [byte 1]]", "[0x01, 0x02]",
    "@ay [1, 2]", "@ay [0x01, 0x00]", "@ay []", "@ay [256]", "@ay b'x'", "@ay 'x'",
    "()", "(1,)", "(1)", "(1, 2)", "(1, 2,)", "(,)", "('a', 1, true, 2.5)", "((), ((),))", "@(yt) (1, 2)", "@(yt) (1, 2, 3)", "@(yt) (1,)", "(1 2)", "[(1, 'a'), (2, 'b')]", "[([], 1), ([2], 3)]", "[(1, 2), (3,)]",
    "{}", "@a{sv} {}", "{'a': 1}", "{'a': <1>}", "{'a': <1>, 'b': <'x'>}", "{'a': <1>, }", "{'a'}", "{'a', 1}", "{'a', <1>}", "{1: 2, 3: 4}", "{1, 2, 3}", "{byte 1: 'a', 2: 'b'}", "{[1]: 2}", "{<1>: 2}", "{(1,): 2}", "{'a': 1, 'b': 2.5}", "{'a': 1, 'a': 2}", "{'a': 2.5, 'b': 1}", "{'a': 1, 'b': byte 2}", "{'a': 1, 'b': uint64 2}", "{'a': uint64 1, 'b': 2}", "{'a': [], 'b': [1]}", "{'a': [1], 'b': []}", "{1: 1, byte 2: 1}", "{'a': 'x', 'b': objectpath '/'}", "{'a': 1, 'b': 'x'}",
    "@{sv} {'a', <1>}", "@a{sv} {'a': <1>}", "@a{sv} {'a': 1}", "[{'a': 1}, {}]", "[{'a', 1}, {'b', 2}]", "{objectpath '/a': 1}", "{true: 1}", "{1.5: 2}",
    "<1>", "<<1>>", "<'a'>", "<>", "<1", "<1, 2>", "[<1>, <'a'>]", "<@as []>", "<[]>", "@v <1>", "<uint32 1>", "< 1 >",
    "nothing", "just 1", "@mi nothing", "@mi 1", "@mi just 1", "@mmi nothing", "@mmi just nothing", "@mmi just just nothing", "@mmi just just 4", "@mmi just 4", "@mmi 4", "just nothing", "[just 1, nothing]", "[1, nothing]", "[1, just 2]", "[just just 1, 2]", "[nothing, just 'a']",
    "@ms nothing", "@ms 'x'", "@mas []", "@m(ii) (1, 2)", "just", "@mv <1>", "@m() ()", "@am() [(), nothing]", "(nothing, 1)", "(just 1, @ms nothing)",
    "@i 5", "@i 'a'", "@s 5", "@z 5", "@ 5", "@i", "@a 5", "@* 5", "@ii 5", "@(ii) (1,2)", "@u @u 5", "@u @i 5", "uint32 int32 5", "uint32 byte 5", "@u 5.5", "[@u 5, @t 6]", "int64 int64 5",
    "", " ", "1 ", " 1", "\t1\n", "1 2", "foo", "foo 1", "a", "n", "nothing nothing", "%i", "$", "1,", "é", "variant <1>", "b", "j", "[foo]", "constructor 1", "toString 1",
    "@(say) ('a', [1, 2])", "@a(say) [('a', b'x'), ('b', [])]", "@a{sas} {'a': ['x'], 'b': []}", "@aas [[], ['a']]", "@a{uv} {1: <2>}", "[@v <1>, <2>]", "@d 5", "@d -0.0", "@t 5", "@x -5",
    "{'ostree.ref-binding': <['main', 'other']>, 'version': <'1.2'>, 'size': <uint64 5>, 'raw': <b'abc'>, 'bytes': <[byte 1, 0, 2]>, 'none': <@mi nothing>}",
    "[" * 120 + "1" + "]" * 120, "[" * 200 + "1" + "]" * 200,
]
TYPED = [
    ("1", "x"), ("1", "t"), ("1", "s"), ("uint32 5", "x"), ("uint32 5", "u"), ("@u 5", "t"), ("'a'", "o"), ("'/a'", "o"), ("'ay'", "g"), ("[]", "as"), ("{}", "a{sv}"), ("[1,2]", "ay"),
    ("{'a': <1>}", "a{sv}"), ("{'a': 1}", "a{sv}"), ("5", "mi"), ("5", "mmi"), ("nothing", "mi"), ("nothing", "i"), ("(1, 2)", "(yt)"), ("b'x'", "ay"), ("b'x'", "as"), ("{}", "as"), ("[]", "a{sv}"), ("true", "b"), ("1", "b"), ("300", "y"), ("1.5", "i"), ("<1>", "v"), ("1", "v"), ("[just 1, nothing]", "ami"), ("[1, nothing]", "ami"), ("{'a', 1}", "{si}"), ("{'a', 1}", "a{si}"), ("[{'a', 1}]", "a{si}"), ("inf", "i"), ("1e3", "i"), ("1", "d"), ("0x10", "d"), ("010", "d"), ("010", "i"), ("just 5", "mmi"), ("just nothing", "mmi"), ("1", "zz"), ("1", "a"), ("[just 5]", "ammi"), ("-0x10", "d"), ("0x1p3", "d"), ("+-5", "t"), ("-", "i"), ("+", "i"), ("1e-400", "d"), ("4e-320", "d"), ("5e-324", "d"), ("0b1", "i"), ("0x", "i"), ("00", "i"), ("1_000", "i"), ("-0.0", "d"),
]

def shown(value):
    return {"type": value.get_type_string(), "hex": (value.get_data_as_bytes().get_data() or b"").hex(), "plain": value.print_(False), "annotated": value.print_(True)}

def parsed(text, kind):
    row = {"text": text, "asked": kind}
    if kind is not None and not (GLib.VariantType.string_is_valid(kind) and GLib.VariantType.new(kind).is_definite()):
        return {**row, "result": None}
    try:
        value = GLib.Variant.parse(None if kind is None else GLib.VariantType.new(kind), text, None, None)
        # An escaped surrogate fails an assertion in GLib, and there is no value.
        return {**row, "result": None if value is None else shown(value)}
    except GLib.Error as error:
        return {**row, "result": None, "error": error.message}

def from_bytes(kind, data):
    value = GLib.Variant.new_from_bytes(GLib.VariantType.new(kind), GLib.Bytes.new(data), False)
    normal = value.is_normal_form()
    return {**(shown(value) if normal else {"type": kind}), "hex": data.hex(), "normal": normal}

random.seed(7)
doubles = [0.0, -0.0, 1.0, -1.5, 0.1, 1e16, 1e17, 123456789012345678.0, 1e-4, 1e-5, 1.5e300, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**-25, 2.0**-24, 3 * 2.0**-25, 2.0**60, 0.5, 100.0, 1e22, 1e23]
doubles += [2.0**-k * m for k in range(20, 30) for m in (1, 3, 5, 7)]
doubles += [struct.unpack("<d", random.randbytes(8))[0] for _ in range(150)]
doubles += [round(random.uniform(-1000, 1000), 3) for _ in range(50)]
PRINT = [("d", struct.pack("<d", x)) for x in doubles if x == x]

characters = [chr(c) for c in list(range(1, 0x180)) + [0x200b, 0x200e, 0x2028, 0x2029, 0x202e, 0x20ac, 0x3000, 0xad, 0x600, 0x61c, 0xe000, 0xfeff, 0xfffd, 0xfffe, 0xffff, 0x1f600, 0xe0001, 0xe0100, 0x10ffff, 0x378, 0xfdd0, 0x1d173, 0x0e3f, 0x0300]]
PRINT += [("s", c.encode() + b"\0") for c in characters]
PRINT += [("s", s.encode() + b"\0") for s in ["it's", 'say "x"', "it's \"x\"", "back\\slash", "a\nb", "", "\x7f"]]
PRINT += [("ay", bytes([c, 0])) for c in range(1, 256)]
PRINT += [("ay", b) for b in [b"", b"\0", b"a\0b\0", b"abc", b"a'b\0", b"a\"b\0", b"a'\"b\0", bytes(range(1, 40)) + b"\0"]]

# Bytes of which GLib says whether they are in normal form.
types = ["as", "aay", "(say)", "a(say)", "a{sv}", "v", "(yt)", "ms", "(a(say)a(sayay))", "(uuua(ayay))", "mmy", "(ayay)", "s", "b", "a(yu)", "av", "((s)y)", "a{yu}", "(sss)", "o", "g", "()", "a()", "mu"]
NORMAL = []
for kind in types:
    for _ in range(60):
        NORMAL.append((kind, bytes(random.choice([0, 0, 1, 2, 3, 4, 5, 6, 8, 0x61, 0x62, 0x73, 0x76, 0x79, 0xff]) for _ in range(random.choice([0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 16])))))

print(json.dumps({
    "glib": f"{GLib.MAJOR_VERSION}.{GLib.MINOR_VERSION}.{GLib.MICRO_VERSION}",
    "parsed": [parsed(t, None) for t in TEXTS] + [parsed(t, k) for t, k in TYPED],
    "printed": [from_bytes(k, d) for k, d in PRINT],
    "normal": [{"type": r["type"], "hex": r["hex"], "normal": r["normal"]} for r in (from_bytes(k, d) for k, d in NORMAL)],
}, indent=1, ensure_ascii=True))
