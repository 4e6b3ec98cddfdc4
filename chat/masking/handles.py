"""Finds e-mail addresses, names at messengers and links to them, in folded text. Pure.

Each pattern costs a time linear in the text: it begins only where a word does, and what may repeat
is bounded or possessive.
"""

import re
from collections.abc import Iterator

_TLD = (
    r"(?:com|net|org|info|biz|uz|ru|su|kz|kg|tj|tm|by|ua|az|am|ge|md|me|io|eu|us|uk|de|fr|tr|cn|kr"
    r"|in|ae|рф|бел|укр|ру|ком|уз)"
)
_PROVIDER = r"(?:gmail|mail|yandex|inbox|icloud|outlook|hotmail|yahoo|rambler|umail|protonmail)"
_MAIL_ONLY = r"(?:gmail|hotmail|protonmail|icloud|outlook)"  # their hosts have no pages to look at
_WORD_AT = r"(?:собака|собачка|sobaka|sobachka|kuchuk(?:cha)?|et|эт|ат|at)"
_WORD_DOT = r"(?:dot|точка|тчк|tochka|nuqta|нуқта)"
_OPEN, _SHUT = r"[(\[{<]\s?", r"\s?[)\]}>]"
_AT = rf"(?:@{{1,3}}|{_OPEN}(?:{_WORD_AT}|a|а|@){_SHUT})"
_DOT = rf"(?:\.|{_OPEN}(?:{_WORD_DOT}|d|\.){_SHUT})"
_TIGHT_DOT = rf"(?:\s{{0,2}}{_DOT}\s{{0,2}}|,|\s{{1,2}}{_WORD_DOT}\s{{1,2}})"  # a comma is a slip
_LOOSE_DOT = rf"(?:\s{{1,2}}{_DOT}\s{{0,2}}|{_DOT})"  # "look @ cafe. Me too" ends a sentence
_SPOKEN_DOT = rf"(?:\s{{0,2}}{_DOT}\s{{0,2}}|\s{{1,3}}{_WORD_DOT}\s{{1,3}})"
_LOCAL = r"""(?:"[^"\n]{1,64}"|(?<![\w.%+'&*=!#$^~-])[\w.%+'&*=!#$^~-]++)"""
_LABEL = r"[\w-]{1,63}"
_NO_MORE = r"(?![\w-])"

_MAIL = [
    rf"{_LOCAL}{_AT}(?:{_LABEL}{_DOT}){{1,8}}[^\W\d_][\w-]{{1,62}}",
    rf"{_LOCAL}{_AT}{_LABEL}(?:{_TIGHT_DOT}{_LABEL}){{0,4}}{_TIGHT_DOT}{_TLD}{_NO_MORE}",
    rf"{_LOCAL}\s{{0,3}}{_AT}\s{{0,3}}{_LABEL}(?:{_LOOSE_DOT}{_LABEL}){{0,4}}{_LOOSE_DOT}{_TLD}"
    rf"{_NO_MORE}",
    rf"{_LOCAL}\s{{0,3}}{_AT}\s{{0,3}}{_LABEL}\s{{0,2}}{_DOT}\s{{0,2}}(?:uz|ru|com|net|рф){_NO_MORE}",
    rf"{_LOCAL}\s?{_AT}\s?{_PROVIDER}(?:\s{{0,2}}[.,]?\s{{0,2}}(?:com|ru|uz|net))?{_NO_MORE}",
    rf"(?<!\w)[\w-]{{1,64}}?[_-]at[_-][\w-]{{1,63}}?[_-]dot[_-]{_TLD}(?!\w)",
    r"(?<!\w)(?:[\w.-]\s){1,40}@(?=(?:\s[\w-]){1,30}\s\.)(?:\s[\w.-]){4,40}(?!\w)",
    rf"{_LOCAL}\s{{1,3}}(?!at\b){_WORD_AT}\s{{1,3}}{_LABEL}(?:{_SPOKEN_DOT}{_LABEL}){{0,4}}"
    rf"{_SPOKEN_DOT}{_TLD}{_NO_MORE}",
    # "look at mail.uz" is no address: a spoken dot or a provider of mail must tell.
    rf"{_LOCAL}\s{{1,3}}at\s{{1,3}}(?:{_MAIL_ONLY}{_SPOKEN_DOT}|{_LABEL}\s{{1,3}}{_WORD_DOT}\s{{1,3}})"
    rf"{_TLD}{_NO_MORE}",
]

# To whom everybody in a talk may call, and what is no name anywhere.
_NO_NAME = r"(?!(?:everyone|channel|support|admin|administrator|driver|rider|operator)\b)"
_NAME = r"(?=[\w.]{5})[^\W\d]\w*+(?:\.\w++)*+"
_APP = (
    r"(?:telegram\w{0,4}|teleg[aeu]?|tl?g|tg(?:im|da|imda)|тг|телег[аеу]|телеграм\w{0,4}|insta(?:gram\w{0,4}|m|da|mda)?|inst|ig"
    r"|инст[аеу]|инстаграм\w{0,4}|whats?app?|watsapp?|vatsapp?|ватсап|вотсап|ватцап|вацап|воцап|уатсап|viber|вайбер|skype|скайп|vk|вк|facebook|fb|фейсбук|snapchat|tiktok"
    r"|тикток|discord|wechat|imo|nick|nickname|nik(?:im)?|user\s?name|ник|юзернейм)"
)
_AFTER_APP = rf"(?<![^\W\d]){_APP}(?:\sid)?(?!\w)[\s:=>–—-]"
_NAMES = [
    rf"(?<![^\W\d])(?<![.@])@{_NO_NAME}{_NAME}",
    r"(?<![^\W\d])(?<![.@])@\s(?=[a-z0-9.]{0,32}_)[a-z][a-z0-9_.]{3,31}(?<!\.)",
    # After the name of an app: a digit, "_" or "@" tells a name, or that no more is said.
    rf"{_AFTER_APP}{{1,4}}@?(?P<name>(?=[a-z.]{{1,32}}[_\d])[a-z][a-z0-9_.]{{4,31}}(?<!\.))(?!\w)",
    rf"{_AFTER_APP}{{0,3}}[:=>–—-]\s?(?P<name>@?[a-z]\w{{1,30}}\.[a-z]\w{{0,30}})(?![\w.])",
    rf"{_AFTER_APP}{{0,3}}:\s?(?P<name>[a-z][a-z\d]{{4,31}})(?=\s*(?:$|[\n.,;!)]))",  # and no more
    rf"(?<![^\W\d]){_APP}[\s:=>–—-]{{0,4}}(?P<name>@[^\W\d]\w{{2,31}})(?!\w)",
    rf"(?:{_OPEN}(?:{_WORD_AT}|a|а){_SHUT}\s?|(?<![^\W\d])(?:соба[чк]к?а|soba(?:ch)?ka)\s)"
    r"(?=[a-z0-9.]{0,32}_)[a-z]\w{3,31}(?!\w)",
]

_END = r"""[^\s.,;:!?)\]}»"'•]"""  # a sentence goes on with the rest
_PATH = rf"[^\s•]*{_END}"
_BEFORE = r"(?<![^\W\d])(?<![.-])(?:https?://)?"
_MESSENGER = (
    r"(?:t\.me|tg\.me|tlgrm\.(?:ru|eu)|t-do\.ru|telega\.(?:at|one)|teleg\.(?:run|one)|telegram\.(?:me|dog)|telesco\.pe|wa\.(?:me|link)|m\.me|vk\.me|ig\.me|fb\.me|line\.me"
    r"|messenger\.com/t|discord\.com/(?:invite|users)|signal\.me|zalo\.me|imo\.im|viber\.(?:me|click)|vb\.me|matrix\.to|discord\.gg"
    r"|signal\.group|linktr\.ee|taplink\.cc|icq\.im|tamtam\.chat|max\.ru"
    r"|(?:api|web|chat)\.whatsapp\.com|whatsapp\.com|web\.telegram\.org|(?:chats|invite)\.viber\.com|join\.skype\.com)"
)
_SOCIAL = (
    r"(?:instagram\.com|instagr\.am|facebook\.com|fb\.com|vk\.com|vk\.ru|vkontakte\.ru|ok\.ru"
    r"|twitter\.com|x\.com|tiktok\.com|threads\.(?:net|com)|snapchat\.com|linkedin\.com)"
)
# Pages of these sites that are nobody's: posts, films, events, the site's own.
_CONTENT = (
    r"(?!(?:p|reels?|tv|explore|watch|events?|hashtag|share|sharer(?:\.php)?|help|about|legal|terms"
    r"|privacy|policies|business|marketplace|search|feed|jobs|video|music|games)(?:[/?#]|$|\s)"
    r"|(?:video|wall|photo|clip|album|topic|doc|market)-?\d)"
)
_LINKS = [
    rf"{_BEFORE}(?:www\.)?{_MESSENGER}[/?#]{{1,3}}(?=[@+#\w%]){_PATH}",
    rf"{_BEFORE}(?!www\.)[a-z]\w{{3,31}}\.t\.me(?![\w-])(?:/{_PATH})?",
    rf"(?<![^\W\d])(?<![.-])(?:t|wa)\s{{0,2}}(?:{_DOT}|,|{_WORD_DOT})\s{{0,2}}me\s{{0,2}}(?:[/\\]|slesh|слеш|slash)"
    r"\s{0,2}[@+]?\w{4,32}",
    rf"(?<![^\W\d])(?:telegram|instagram|facebook|vk|fb|m|ig)(?:\s{{1,2}}{_DOT}\s{{0,2}}|{_DOT}\s{{1,2}})"
    r"(?:me|com|dog)\s{0,2}[/\\]\s{0,2}[@+]?\w{4,32}",
    rf"{_BEFORE}(?:(?:www|m|mobile|mbasic|web|new)\.)?{_SOCIAL}/(?=[@\w]){_CONTENT}{_PATH}",
    rf"{_BEFORE}(?:(?:www|m)\.)?youtube\.com/(?=@|c/|channel/|user/){_PATH}",
    r"(?<![^\W\d])(?:tg|viber|whatsapp|skype|weixin|wechat|line|imo|signal|sgnl|zalo|instagram|vk|fb"
    rf"|fb-messenger|twitter|snapchat|tel|sms|callto|facetime|facetime-audio):/{{1,3}}(?=\w|\+){_PATH}",
    r"(?<![^\W\d])(?:skype|xmpp|sips?|callto|mailto|facetime|facetime-audio):(?=[\w.+@:-]{5})"
    rf"{_PATH}",
    r"(?<![^\W\d])live:\.cid\.\w+",
    r"(?<![^\W\d])(?:skype|скайп)[\s:=–—-]{0,3}(?P<name>live:[\w.]{4,40}(?<!\.))",
    rf"(?<![^\W\d])tg:(?=resolve|join|user|addlist|contact){_PATH}",
]

_HINT = re.compile(
    rf"[@/]|{_OPEN}(?:{_WORD_AT}|a|а){_SHUT}|(?<![^\W\d])me(?!\w)|:|{_WORD_AT}\s|[_-]at[_-]|(?<![^\W\d]){_APP}(?!\w)"
)
# Mail first, or a name would take a half of it.
_PATTERNS = [re.compile(pattern) for pattern in (*_MAIL, *_LINKS, *_NAMES)]
_LINK_PATTERNS = [re.compile(pattern) for pattern in _LINKS]
_LATIN = str.maketrans("аеорсухітмк", "aeopcyxitmk")  # what Cyrillic letters look like


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Find them in folded text. The spans may overlap."""
    if not _HINT.search(text):
        return
    for pattern in _PATTERNS:
        for found in pattern.finditer(text):
            yield found.span("name" if "name" in pattern.groupindex else 0)
    if "/" in text and (latin := text.translate(_LATIN)) != text:  # `т.ме/sardor_bek`
        for pattern in _LINK_PATTERNS:
            yield from (found.span() for found in pattern.finditer(latin))
