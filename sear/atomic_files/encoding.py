"""The character encoding of a dump's file: decided once, over many of its lines, and told.

UTF-8, UTF-16 and UTF-32 show themselves. Of the legacy encodings, which nearly any bytes fit, three are recognised by
what only their words look like; where none is clear the file is refused and the user names it.
"""

import codecs
import re
from dataclasses import dataclass

from sear.errors import InputError

BYTE_ORDER_MARKS = (  # the longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
CLEAR = 0.9  # of a file's other letters must look as those of an encoding do
HINT = "name its encoding with --encoding, for example cp1252, cp1251, gb18030, big5 or shift_jis"
SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# what remains of a character that was cut: its beginning, or its end where a line or a field begins
CUT = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{0,2}(?![\x80-\xbf])|(?:(?<=[\t,;|\"])|\A)[\x80-\xbf]{1,3}(?![\x80-\xff])")
# codecs of names, of literals or of parts of others
NOT_OF_FILES = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "charmap", "palmos")
BY_CHANCE = {"gb18030": 3}  # characters of UTF-8 that the bytes of rare ones make by chance
HIGH = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True)
class Encoding:
    """codec: Python's name; wide: its lines do not end in a byte of their own; told: "" where nothing needs saying.

    guessed: whether it is a legacy one, recognised by its words; then a line may be in UTF-8 all the same.
    """

    codec: str
    told: str = ""
    guessed: bool = False

    @property
    def wide(self) -> bool:
        return codecs.lookup(self.codec).name.startswith(("utf-16", "utf-32"))


UTF8 = Encoding("utf-8")


def named(name: str) -> Encoding:
    """The encoding of this name. Raises InputError where Python knows none that files are in."""
    try:
        codec = codecs.lookup(name)
        "".encode(name)
        if codec.name.replace("-", "_") in NOT_OF_FILES:
            raise LookupError
    except (LookupError, ValueError):
        raise InputError(f"--encoding={name!r} is no encoding of files that Python knows - {HINT[9:]}") from None
    return Encoding(codec.name)


def refuse_seven_bits(path, head: bytes) -> None:
    """Raises InputError for Japanese or Korean written in ASCII between marks that switch to it, as in old mails."""
    if b"\x1b$" in head:
        raise InputError(f"{path} is not UTF-8 (it may be iso2022_jp) - {HINT}")


def wide_encoding(head: bytes) -> Encoding | None:
    """UTF-16 or UTF-32 by their byte order mark, or by the zeros that Latin letters have there; else None."""
    mark = next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), "")
    if mark.startswith(("utf-16", "utf-32")):
        return Encoding(mark, f"read as {mark.upper()}")
    zeros = head[0::2].count(0), head[1::2].count(0)
    most, fewest, side = max(zeros), min(zeros), int(zeros[1] > zeros[0])
    if len(head) > 3 and most > len(head) // 20 and fewest <= most // 20:
        codec = ("utf-16-be", "utf-16-le")[side]
        return Encoding(codec, f"read as {codec.upper()}")
    return None


def utf8_characters(line: bytes, codec: str) -> int:
    """How many characters a line has besides ASCII where it can be UTF-8, in a file of this legacy encoding; else 0.

    It cannot where it would say what nobody writes in that encoding.
    """
    if line.isascii():
        return 0
    try:
        others = [character for character in line.decode() if not character.isascii()]
        "".join(others).encode(codec)
    except UnicodeError:
        return 0
    if codec == "gb18030" and min(others) < "\u2000":  # pairs of its bytes are often Greek or Hebrew in UTF-8
        return 0
    return len(others)


def decided(path, lines: list[bytes]) -> Encoding:
    """The encoding of a file with these lines that are not ASCII (as many as were looked for).

    Raises:
        InputError: it is not UTF-8, and no other is clear.
    """
    text = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
    sequences = len(SEQUENCE.findall(text))
    others = [run for line in lines for run in _not_utf8(line)]
    if not others:
        return UTF8
    if sequences >= len(others) and (all(cut for _, cut in others) or sequences >= 20 * len(others)):
        return UTF8  # damaged in places, which are told as bad lines
    for codec, looks in (("cp1251", _cyrillic), ("gb18030", _chinese), ("cp1252", _western)):
        own = b"".join(line.rstrip(b"\n") + b"\n" for line in lines if not utf8_characters(line, codec))
        try:
            shown = own.decode(codec)
        except UnicodeDecodeError:
            continue
        if looks(shown, own) >= CLEAR:
            return Encoding(codec, f"not UTF-8: read as {codec} (--encoding=… says otherwise)", guessed=True)
    guess = _guess(text)
    supposed = f" (it may be {guess})" if guess else ""
    raise InputError(f"{path} is not UTF-8, and what else is not clear{supposed} - {HINT}")


def _not_utf8(line: bytes) -> list[tuple[bytes, bool]]:
    """The runs of bytes that are no UTF-8, each with whether it looks like a cut character."""
    found: list[tuple[bytes, bool]] = []
    place = 0
    while True:
        try:
            line[place:].decode("utf-8")
            return found
        except UnicodeDecodeError as error:
            start, end = place + error.start, place + error.end
            while end < len(line) and 0x80 <= line[end] < 0xC0:  # what belongs to no character
                end += 1
            cut = CUT.match(line, start)
            found.append((line[start:end], cut is not None and cut.end() == end))
            place = end


def _cyrillic(shown: str, _: bytes) -> float:
    """Share of the other characters that stand in words as Russian, Ukrainian and Bulgarian write them.

    Hebrew, Greek and KOI8 look Cyrillic, too, but for capitals and ы to я, or for the vowels.
    """
    letters = re.findall("[Ѐ-ӿ]", shown)
    vowels = sum(letter in "аеёиоуыэюяєіїАЕЁИОУЫЭЮЯЄІЇ" for letter in letters)
    if not re.search("[Ѐ-ӿ]{2}", shown) or not re.search("[Ѐ-Яы-я]", shown) or vowels < len(letters) / 4:
        return 0.0  # single ones are as well the à of "à la carte"
    good = total = 0
    for word in re.findall(r"[^\W\d_]+|[^\x00-\x7f]", shown):
        others = sum(not character.isascii() for character in word)
        total += others
        if re.fullmatch(r"[Ѐ-ӿ]+", word):
            good += others * (word[1:].islower() or word.isupper() or len(word) == 1)
        elif not word.isalpha() and word in "«»„“”‘’–—…№•™©®° \u00a0":
            good += others
    return good / total


def _chinese(_: str, text: bytes) -> float:
    """Share of the pairs of bytes that are frequent characters (first level of GB 2312) or punctuation."""
    good = total = second = kana = 0
    leads = set()
    for run in HIGH.findall(text):
        pairs = [run[place : place + 2] for place in range(0, len(run) - 1, 2)]
        total += len(pairs) + len(run) % 2
        for pair in pairs:
            frequent = 0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1
            good += frequent or pair[0] in (0xA1, 0xA3)
            second += 0xD8 <= pair[0] <= 0xF7 and pair[1] >= 0xA1
            kana += pair[0] in (0xA4, 0xA5)
            if frequent:
                leads.add(pair)
    korean = len(leads) > 3 and all(pair[0] <= 0xC8 for pair in leads)
    if not total or not leads or korean or kana > total / 10:
        return 0.0
    return (good + second) / total if good > 0.7 * total else 0.0


# letters where no word of Western Europe has them, as in Czech, Turkish, Croatian, Hungarian; and signs in no text
NOT_WESTERN = re.compile(
    r"ì(?=[^\W\d])|(?<![oO])ù(?=[^\W\d])|[èÈ](?=[aeiouáéíóúý])|õ(?!e)|û(?=[zj])|[ðÐ](?=[^\W\dA-Z])(?<![^\W\d].)"
    r"|(?<![^\W\d])[âêîûñÿ](?![^\W\d])"  # single-letter words of Russian
    r"|(?<=[^\W\d])þ(?=[^\W\d]?(?![^\W\d]))|(?<=[aeiouy])æ|[¤¦¨¬¯¸ˆ˜\u00ad]"
)


def _western(shown: str, _: bytes) -> float:
    """Share of the other characters that are punctuation, or letters as Western European words have them."""
    misplaced = {found.start() for found in NOT_WESTERN.finditer(shown)}
    good = total = 0
    for found in re.finditer(r"[^\x00-\x7f]", shown):
        character, place = found[0], found.start()
        before, after = shown[place - 1 : place], shown[place + 1 : place + 2]
        total += 1
        if place in misplaced:
            continue
        if character.isalpha() and character not in "ªºµ":
            mixed = bool(re.search("[A-Za-z]", shown[max(0, place - 2) : place + 3]))
            alone = not (before.isalpha() or after.isalpha())
            if character in "ÃÂ" and not after.isascii() or character + after == "â€":
                return 0.0  # UTF-8 among it: two files in one
            cut = character in "ÃÂ" and before.islower() and not after.isalpha()
            good += (mixed or alone) and not cut
        elif character in "’‘´`":
            good += 1
        else:  # a sign between two letters is a letter of another encoding
            good += not (before.isalpha() and after.isalpha())
    return good / total if total else 0.0


def _guess(text: bytes) -> str:
    """What charset-normalizer takes these bytes for; "" where it does not know either."""
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return ""
    best = from_bytes(text[: 1 << 16]).best()
    return best.encoding if best else ""
