"""Damage to a file: bits that flip, ends that are cut, lines that come twice, and what editors do. Each is seeded."""

import random
import re

BOM = b"\xef\xbb\xbf"


def flip(draw, content, bits=1):
    damaged = bytearray(content)
    for _ in range(bits):
        place = draw.randrange(len(content) * 8)
        damaged[place // 8] ^= 1 << place % 8
    return bytes(damaged)


def flip_many(draw, content):
    return flip(draw, content, 8)


def cut(draw, content):
    return content[: draw.randrange(len(content))]


def cut_start(draw, content):
    return content[draw.randrange(1, len(content)) :]


def zeros(draw, content):
    """A block that the disk has lost."""
    start = draw.randrange(len(content))
    return content[:start] + bytes(len(content[start : start + 64])) + content[start + 64 :]


def double_line(draw, content):
    lines = content.splitlines(keepends=True)
    i = draw.randrange(len(lines))
    return b"".join([*lines[: i + 1], *lines[i:]])


def drop_line(draw, content):
    lines = content.splitlines(keepends=True)
    del lines[draw.randrange(len(lines))]
    return b"".join(lines)


def swap_digits(draw, content):
    """Another number in place of one, as somebody types it."""
    places = [match.start() for match in re.finditer(rb"\d", content)]
    place = draw.choice(places or [0])
    return content[:place] + b"%d" % draw.randrange(10) + content[place + 1 :]


def bom(draw, content):
    return BOM + content


def crlf(draw, content):
    return content.replace(b"\n", b"\r\n")


def newer_schema(draw, content):
    return re.sub(rb"(keras-entropy/\w+/)(\d+)", lambda found: found[1] + b"%d" % (int(found[2]) + 1), content)


def end_added(draw, content):
    return content + draw.randbytes(100)


def deep(draw, content):
    """Brackets in place of a value, so deep that a reader which calls itself runs out of stack."""
    return content.replace(b": ", b": " + b"[" * 10**5, 1)


def long_number(draw, content):
    return re.sub(rb"(: |=)(\d+)", rb"\g<1>" + b"1" + b"0" * 400, content, count=1)


RANDOM = (flip, flip, flip, flip, flip_many, cut, cut_start, zeros, double_line, drop_line, swap_digits)
"""Those that differ from one seed to the next; a bit flip is the most frequent."""
ONCE = (bom, crlf, newer_schema, end_added, deep, long_number)


def damages(seed, count):
    """A number of kinds of damage, each with its generator of random numbers."""
    kinds = [*ONCE, *(RANDOM[i % len(RANDOM)] for i in range(count - len(ONCE)))]
    return [(kind, random.Random(f"{seed} {i}")) for i, kind in enumerate(kinds)]
