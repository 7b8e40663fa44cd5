"""What data sets and people call the usual seven and contempt, in eight languages, and how words
are compared.

Words are those of class folders, label columns and labels in published sets and code (FER+, RAF-DB,
AffectNet, KDEF; French, Spanish, German, Portuguese, Italian, Chinese, Japanese).
"""

import re
import unicodedata

WORDS: dict[str, tuple[str, ...]] = {
    "angry": (
        "angry", "anger", "annoyed", "furious", "rage",
        "colère", "en colère", "fâché", "énervé",
        "enojo", "enojado", "enfado", "enfadado", "ira", "rabia", "furia",
        "wut", "wütend", "wuetend", "ärger", "aerger", "ärgerlich", "zorn", "zornig",
        "raiva", "zangado", "irritado",
        "rabbia", "arrabbiato", "collera",
        "生气", "生氣", "愤怒", "憤怒", "怒", "怒り", "怒る",
    ),
    "neutral": (
        "neutral", "neutrality", "calm", "no emotion", "expressionless",
        "neutre", "neutro", "neutra", "neutrale", "neutralität", "neutralitaet",
        "中性", "中立", "平静", "平靜", "自然", "无表情", "無表情", "真顔", "ニュートラル",
    ),
    "disgust": (
        "disgust", "disgusted",
        "dégoût", "dégoûté",
        "asco", "disgusto", "disgustado", "repugnancia", "repulsión",
        "ekel", "angeekelt", "angewidert", "abscheu",
        "nojo", "aversão", "repulsa",
        "disgustato", "schifo",
        "厌恶", "厭惡", "恶心", "噁心", "反感", "嫌悪", "嫌悪感",
    ),
    "fear": (
        "fear", "fearful", "afraid", "scared", "frightened",
        "peur", "effrayé", "apeuré", "crainte",
        "miedo", "temor", "asustado",
        "angst", "ängstlich", "aengstlich", "furcht",
        "medo", "assustado",
        "paura", "spaventato", "impaurito",
        "恐惧", "恐懼", "害怕", "恐怖", "恐れ", "恐怖感",
    ),
    "happy": (
        "happy", "happiness", "joy", "joyful",
        "joie", "joyeux", "heureux", "bonheur",
        "alegría", "alegre", "feliz", "felicidad",
        "freude", "fröhlich", "froehlich", "glücklich", "gluecklich", "glück", "froh",
        "felicidade",
        "felice", "felicità", "gioia",
        "高兴", "高興", "开心", "開心", "快乐", "快樂", "喜悦", "喜悅", "幸福", "喜び", "嬉しい",
        "笑顔", "楽しい",
    ),
    "sad": (
        "sad", "sadness", "unhappy",
        "triste", "tristesse", "malheureux",
        "tristeza",
        "traurig", "trauer", "traurigkeit",
        "tristezza",
        "悲伤", "悲傷", "难过", "難過", "伤心", "傷心", "悲哀", "悲しみ", "悲しい",
    ),
    "surprise": (
        "surprise", "surprised", "astonished",
        "étonnement", "étonné", "surpris",
        "sorpresa", "sorprendido", "asombro",
        "überraschung", "ueberraschung", "überrascht", "ueberrascht", "erstaunt",
        "surpresa", "surpreso", "surpreendido",
        "sorpreso",
        "惊讶", "驚訝", "吃惊", "吃驚", "惊喜", "驚喜", "惊奇", "驚奇", "驚き", "驚く",
    ),
    "contempt": (
        "contempt", "contemptuous", "scorn",
        "mépris", "méprisant", "desprecio", "desdén", "verachtung", "verächtlich",
        "desprezo", "desdém", "disprezzo",
        "轻蔑", "輕蔑", "蔑视", "蔑視", "鄙视", "鄙視", "軽蔑",
    ),
}  # fmt: skip
"""Each of the usual seven, and contempt, with its words."""


def plain_label(word: str) -> str:
    """A word as words are compared: without case, accents, width of letters and outer blanks; `_`,
    `-` and several blanks are one blank.
    """
    parts = unicodedata.normalize("NFKD", word.casefold())
    letters = "".join(c for c in parts if not "\u0300" <= c <= "\u036f")
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", letters)).strip()
