# ruff: noqa: E501  (the tables read best with one entry on one line)
"""Which shelf an item belongs on, by the nouns in its description: an ordered table of rules, first hit wins.

The source data has no categories. The table was read off the 400 commonest words of the catalogue; what no
rule knows goes to the honest *More* shelf (about one item in twenty).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Category(NamedTuple):
    slug: str
    title: str


CATEGORIES: tuple[Category, ...] = (
    Category("christmas", "Christmas"),
    Category("jewellery", "Jewellery & Accessories"),
    Category("bags", "Bags & Purses"),
    Category("candles", "Candles & Lanterns"),
    Category("lights", "Lights & Lamps"),
    Category("clocks", "Clocks"),
    Category("tea", "Mugs & Tea Time"),
    Category("kitchen", "Kitchen & Baking"),
    Category("paper", "Cards & Paper"),
    Category("party", "Party"),
    Category("toys", "Toys & Crafts"),
    Category("garden", "Garden"),
    Category("signs", "Signs & Frames"),
    Category("textiles", "Cushions & Textiles"),
    Category("storage", "Storage & Tins"),
    Category("hooks", "Hooks & Hardware"),
    Category("bath", "Bath & Beauty"),
    Category("decor", "Decorations"),
    Category("more", "More"),
)
MORE = len(CATEGORIES) - 1
SLUGS = {category.slug: number for number, category in enumerate(CATEGORIES)}


def _rule(slug: str, words: str) -> tuple[int, re.Pattern[str]]:
    return SLUGS[slug], re.compile(rf"\b(?:{words})\b")


# Order matters: a "Christmas gift bag" is Christmas, a "cake stand" is Kitchen before it is anything else.
RULES: tuple[tuple[int, re.Pattern[str]], ...] = (
    _rule("christmas", "CHRISTMAS|XMAS|ADVENT|SANTA|REINDEER|BAUBLES?|SNOW\\w*|NUTCRACKER|RUDOLPH|NOEL|STOCKING"),
    _rule("clocks", "CLOCKS?|WATCH(?:ES)?"),
    _rule(
        "jewellery",
        "NECKLACES?|NECKL\\w*|BRACELETS?|EARRINGS?|EARINGS?|PENDANTS?|BROOCH|BANGLES?|LARIAT|RINGS?|CHOKER|"
        "HAIR\\w*|HAIRCLIPS?|CHARMS?|TIARA|SCARF|UMBRELLA|SUNGLASSES|KEY ?RINGS?|KEY.CHAINS?|KEYRING|BEADS",
    ),
    _rule("paper", "GIFT BAGS?|MONEY BANK CARDS?"),
    _rule("toys", "BEAN ?BAGS?|MONEY ?(?:BANK|BOX)"),
    _rule("textiles", "HOT WATER BOTTLES?|HOTTIE|DOOR ?MATS?|DOORSTOPS?|DOOR STOPS?"),
    _rule("bags", "BAGS?|HANDBAGS?|PURSES?|WALLETS?|SHOPPERS?|RUCKSACKS?|BACKPACKS?|LUGGAGE|SATCHEL|PASSPORT COVERS?|WASHBAGS?|WASH BAGS?"),
    _rule("tea", "MUGS?|TEA ?CUPS?|TEAPOTS?|TEA(?:TIME)?|SAUCERS?|COFFEE|BEAKERS?|CUPS?|COASTERS?|CAKESTAND"),
    _rule(
        "candles",
        "CANDLES?|T-?LIGHTS?|T LIGHTS?|TEALIGHTS?|LANTERNS?|INCENSE|CANDLE\\w+|WAX|VOTIVE|SCENTED|WICKS?",
    ),
    _rule("lights", "LIGHTS?|LAMPS?|LAMPSHADES?|CHANDELIERS?|SHADES?|TORCH|BULBS?"),
    _rule(
        "kitchen",
        "CAKES?|BAKING|BOWLS?|PLATES?|JARS?|JAM|TRAYS?|CUTLERY|PANS?|LUNCH|BOTTLES?|APRONS?|TEA TOWELS?|KITCHEN|"
        "JUGS?|RECIPE|EGG CUPS?|EGG|MEASURING|SPOONS?|FORKS?|KNIFE|KNIVES|GLASS(?:ES)?|GOBLETS?|TUMBLERS?|DISH(?:ES)?|"
        "PANTRY|COOKIE|BISCUIT|FOOD|MOULDS?|JELLY|PLACE ?MATS?|PLACEMATS?|BREAD|SALT|CONDIMENT|WHISK|DINNER|BUTTER|"
        "MILK|SUGAR|SNACK|FRIDGE|COLANDER|CHOPSTICKS?|OVEN|COSY|TRIVET|CANDY|CASSEROLE|SALAD|NUTS?|FRYING|POPCORN|CRUET",
    ),
    _rule("party", "BUNTINGS?|PARTY|BALLOONS?|NAPKINS?|DOILEY|DOIL\\w+|BIRTHDAY|STRAWS?|CONFETTI|PAPER CHAINS?|PINATA"),
    _rule(
        "paper",
        "CARDS?|WRAPS?|PAPER|NOTE ?BOOKS?|STICKERS?|PENS?|PENCILS?|ENVELOPES?|TISSUES?|RIBBONS?|LETTERS?|BOOKS?|"
        "JOURNAL|SKETCHBOOK|TAPE|GIFT TAGS?|TAGS?|STATIONERY|CHALKS?|RUBBERS?|ERASERS?|STAMPS?|NOTES?|RULERS?|"
        "ALBUM|DIARY|CRAYONS?|SHARPENER|MEMO|PAD|CALENDAR|FILOFAX|DRAWING|PAINT",
    ),
    _rule(
        "toys",
        "TOYS?|SNAKES|HELICOPTER|DOLLS?|DOLLY|GAMES?|JIGSAWS?|PUZZLES?|PLAYING|CHILD\\w*|SPACEBOY|FELTCRAFT|KNIT\\w*|SEWING|ORIGAMI|"
        "SKITTLES|TEDDY|SOFT|BLOCKS?|PUPPETS?|YOYO|KITES?|CRAFT|CROCHET|ANIMALS?|DOMINO\\w*|TRAIN|RACING|MARBLES|"
        "BABY|SPINNING|SKIPPING|HARMONICA|BALLS?|DINOSAURS?|SOLDIERS?|CIRCUS|BINGO|TATTOOS?|MAGIC|MASK|GLIDER|"
        "RABBIT|BUNNY|KIT|SNAP|WHISTLE|ROBOT|PLASTERS|STENCIL|BEACH",
    ),
    _rule(
        "signs",
        "SIGNS?|FRAMES?|WALL ART|MIRRORS?|MIRRORED|PICTURES?|BLACKBOARDS?|CHALKBOARD|TILES?|MAGNETS?|PLAQUES?|POSTERS?|"
        "CANVAS|BOARD|NOTICEBOARD|PHOTO|PRINTS?|SLATE",
    ),
    _rule(
        "garden",
        "GARDEN\\w*|PLANT\\w*|POTS?|PARASOLS?|BIRD ?(?:HOUSE|BOX|TABLE|FEEDER|BATH|CAGE)\\w*|BIRDHOUSE|WATERING|PICNIC|"
        "TERRARIUM|TROWEL|SEEDS?|GNOME|CLOCHE|CHIMES?|WINDMILL|DECKCHAIR|HERB|BARBECUE|TOADSTOOLS?|GREENHOUSE|THERMOMETER|"
        "GROW|VASES?|DOVECOTE|STOOL|CHAIR|BENCH",
    ),
    _rule(
        "textiles",
        "CUSHIONS?|BLANKETS?|QUILTS?|THROW|RUGS?|CURTAINS?|TOWELS?|COVERS?|FABRIC|MATS?|SLIPPERS?|SOCKS?|GLOVES?|"
        "WARMERS?|BEDS?|TABLE ?CLOTH|TABLECLOTH|RUNNER|FLANNEL|BEANIE|PONCHO|POLYESTER|PILLOW|LINEN|SHAWL|PARKA|TRELLIS",
    ),
    _rule(
        "storage",
        "BOX(?:ES)?|TINS?|BASKETS?|DRAWERS?|CABINETS?|STORAGE|CRATES?|RACKS?|TIDY|CASES?|BINS?|CHEST|SHELF|SHELVES|"
        "CONTAINERS?|CADDY|BUCKETS?|POTS?|CUPBOARD|TUBS?|TRUNK|TROLLEY|UNIT|TABLE|STAND|TUBE",
    ),
    _rule("hooks", "HOOKS?|KNOBS?|HANGERS?|HANDLES?|BELLS?|KEYS?|PEGS?|PADLOCKS?|SCREWDRIVER|TAPE MEASURE|PULLS?|LOCK|HOLDER"),
    _rule("bath", "BATH\\w*|SOAPS?|SPONGES?|BALM|LIP|COMPACT|NAIL|TOOTHBRUSH|COSMETIC|MAKE ?UP|BRUSH|TOILET|LAVENDER|PERFUME|SHOWER"),
    _rule(
        "decor",
        "DECORATIONS?|DECORATIVE|DECORATIO\\w*|HEARTS?|WREATHS?|FLOWERS?|ORNAMENTS?|STARS?|BUTTERFL\\w+|GARLANDS?|HANGING|"
        "EASTER|ROSES?|BIRDS?|FEATHERS?|TREES?|DAISY|DAISIES|CHICKS?|HENS?|BLOSSOM|STRING|SWEETHEART|DOVES?|FAIRY|"
        "ANGELS?|OWLS?|CAT|DOG|LEAF|LEAVES|TULIPS?|ORCHID|HYDRANGEA|LILY|CHERUB|GECKO|FISH|PEARS?|ARTIFICIAL|FRUIT|"
        "BOTANICAL|SPRAY|GLOBE|CRYSTAL|SUNCATCHER|MOBILE|FLAMINGO|SKULLS?|BUDDHA|ELEPHANT|DUCK|ROCKING HORSE|COCKLE",
    ),
)  # fmt: skip


def classify(description: str) -> int:
    """The number of the category in :data:`CATEGORIES`.

    >>> CATEGORIES[classify("RED RETROSPOT MUG")].title
    'Mugs & Tea Time'
    """
    upper = description.upper()
    for number, pattern in RULES:
        if pattern.search(upper):
            return number
    return MORE
