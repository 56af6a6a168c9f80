"""Sentence splitters and taggers against the gold of real reports, and their speed, in one run.

    PYTHONPATH=. python benchmarks/sentences.py [--reports FOLDER]

FOLDER holds the archive of Open-i reports (.tgz; default: $SENTALIGN_REALDATA/openi, else ../shared/data/openi); the
clinical notes are cxr_notes/metadata.csv of the same data; the gold is in tests/golden. A library that is not
installed is left out, with a line, and so are the notes where there are none. All libraries fit one environment of
their own (medspaCy 1.3.1 needs numpy 1):

    python -m venv rivals
    rivals/bin/pip install medspacy==1.3.1 pysbd nltk syntok blingfire "pyarrow<19" "numpy<2" "spacy<3.8"
    rm -r rivals/lib/python*/site-packages/{tests,benchmarks}    # medspaCy's strays, which hide the folders here
    PYTHONPATH=. rivals/bin/python benchmarks/sentences.py

NLTK's Punkt learns from the Open-i reports outside the gold, since its own model is a download.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sharding.text import sentences, tags
from tests.golden.gold import (
    Span,
    Text,
    boundary_scores,
    by_the_guide,
    gold,
    labelled_sentences,
    note_texts,
    section_texts,
    stress,
    tag_scores,
    trimmed,
)

Splitter = Callable[[str], list[Span]]


# The splitters: each maker takes the texts outside the gold and gives a function from text to raw spans


def located(text: str, pieces: Iterable[str]) -> list[Span]:
    """Where the pieces stand in the text, which may have other white space than they have."""
    spans, last = [], 0
    for piece in pieces:
        found = re.compile(r"\s+".join(map(re.escape, piece.split()))).search(text, last) if piece.strip() else None
        if found:
            last = found.end()
            spans.append(found.span())
    return spans


def ours(_: Sequence[str]) -> Splitter:
    return lambda text: [(sentence.start, sentence.end) for sentence in sentences.split(text)]


def field_regex(_: Sequence[str]) -> Splitter:
    return lambda text: located(text, re.split(r"(?<=[.!?])\s+", text))


def full_stops(_: Sequence[str]) -> Splitter:
    """As GLoRIA and ConVIRT-like code does: newlines to spaces, split at every full stop."""
    return lambda text: [match.span() for match in re.finditer(r"[^.]+\.?", text)]


def nltk_regexp(_: Sequence[str]) -> Splitter:
    """NLTK's RegexpTokenizer with gaps behind a full stop, the other form met in such code."""
    tokenizer = importlib.import_module("nltk.tokenize").RegexpTokenizer(r"[.!?]\s+|\n+", gaps=True)
    return lambda text: [(s, e + (text[e : e + 1] in tuple(".!?"))) for s, e in tokenizer.span_tokenize(text)]


def punkt(others: Sequence[str]) -> Splitter:
    module = importlib.import_module("nltk.tokenize.punkt")
    trainer = module.PunktTrainer("\n".join(others))
    tokenizer = module.PunktSentenceTokenizer(trainer.get_params())
    return lambda text: list(tokenizer.span_tokenize(text))


def pysbd(_: Sequence[str]) -> Splitter:
    segmenter = importlib.import_module("pysbd").Segmenter(language="en", clean=False, char_span=True)
    return lambda text: [(piece.start, piece.end) for piece in segmenter.segment(text)]


def spacy_sentencizer(_: Sequence[str]) -> Splitter:
    nlp = importlib.import_module("spacy").blank("en")
    nlp.add_pipe("sentencizer")
    return lambda text: [(piece.start_char, piece.end_char) for piece in nlp(text).sents]


def medspacy(_: Sequence[str]) -> Splitter:
    importlib.import_module("loguru").logger.remove()
    nlp = importlib.import_module("medspacy").load(medspacy_enable=["medspacy_pyrush"])
    return lambda text: [(piece.start_char, piece.end_char) for piece in nlp(text).sents]


def syntok(_: Sequence[str]) -> Splitter:
    segmenter = importlib.import_module("syntok.segmenter")

    def split(text: str) -> list[Span]:
        pieces = [tokens for paragraph in segmenter.analyze(text) for tokens in paragraph]
        return [(tokens[0].offset, tokens[-1].offset + len(tokens[-1].value)) for tokens in pieces]

    return split


def blingfire(_: Sequence[str]) -> Splitter:
    library = importlib.import_module("blingfire")
    return lambda text: located(text, library.text_to_sentences(text).split("\n"))


SPLITTERS: dict[str, Callable[[Sequence[str]], Splitter]] = {
    "ours": ours,
    "medspaCy (PyRuSH)": medspacy,
    "pySBD": pysbd,
    "syntok": syntok,
    "BlingFire": blingfire,
    "Punkt, learnt here": punkt,
    "spaCy sentencizer": spacy_sentencizer,
    "regex [.!?] + space": field_regex,
    "NLTK RegexpTokenizer": nltk_regexp,
    "every full stop": full_stops,
}

# The rival of the tags: ConText (the successor of NegEx) over a list of findings


FINDINGS = re.compile(
    r"effusions?|pneumothora(?:x|ces)|consolidations?|opacit(?:y|ies)|infiltrates?|edema|pneumonia|atelectasis|"
    r"cardiomegaly|nodules?|mass(?:es)?|disease|abnormalit(?:y|ies)|fractures?|process|granulomas?|congestion|scarring|"
    r"enlarged|hernia|calcifications?|emphysema|fibrosis|thickening|air|lesions?|failure|findings?"
)


def context_tags() -> Callable[[str], tuple[str, ...]]:
    """negated: findings are named and all of them negated; uncertain: one of them is; no word for the other tags."""
    importlib.import_module("loguru").logger.remove()
    medspacy_module = importlib.import_module("medspacy")
    rule = importlib.import_module("medspacy.target_matcher").TargetRule
    nlp = medspacy_module.load()
    nlp.get_pipe("medspacy_target_matcher").add([rule("finding", "FINDING", pattern=FINDINGS.pattern)])

    def tag(sentence: str) -> tuple[str, ...]:
        found = nlp(sentence).ents
        negated = bool(found) and all(entity._.is_negated for entity in found)
        return ("negated",) * negated + ("uncertain",) * any(entity._.is_uncertain for entity in found)

    return tag


# The tables


def real_data() -> Path:
    named = os.environ.get("SENTALIGN_REALDATA")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"


def archive_of_reports(folder: Path | None) -> Path:
    archives = sorted((folder or real_data() / "openi").glob("*.tgz"))
    if not archives:
        sys.exit("no archive of Open-i reports (.tgz): give its folder with --reports")
    return archives[0]


def gold_without_tags() -> dict[str, list[Text]]:
    """The sets that are only cut: the notes, where their table is there, and the stress texts."""
    table = real_data() / "cxr_notes" / "metadata.csv"
    if not table.is_file():
        print("left out: the notes (no cxr_notes/metadata.csv in the folder of real data)")
        return {"stress": stress()}
    return {"notes": gold("notes", note_texts(table)), "stress": stress()}


def made_splitters(others: Sequence[str]) -> dict[str, Splitter]:
    made = {}
    for name, make in SPLITTERS.items():
        try:
            made[name] = make(others)
        except ImportError as error:
            print(f"left out: {name} ({error.name} is not installed)")
    return made


def print_boundaries(splitters: dict[str, Splitter], sets: dict[str, list[Text]]) -> None:
    """Precision, recall and F1, in percent, raw and after `by_the_guide`; wrong: sections with any wrong span."""
    for name, texts in sets.items():
        print(f"\nBoundaries, {name}: {sum(len(one.spans) for one in texts)} sentences in {len(texts)} sections")
        print(f"{'':22}{'as the splitter gives them':^45} {'after the rules of the guide':^45}")
        print(f"{'':22}" + f"{'spans':>14}{'ends':>20}{'wrong':>9}   " * 2)
        for splitter, split in splitters.items():
            raw = [trimmed(one.text, split(one.text)) for one in texts]
            line = f"{splitter:22}"
            for made in (raw, [by_the_guide(one.text, spans) for one, spans in zip(texts, raw, strict=True)]):
                for scores in boundary_scores(texts, made).values():
                    line += "".join(f"{100 * value:6.1f}" for value in scores) + "  "
                line += f"{sum(tuple(a) != b.spans for a, b in zip(made, texts, strict=True)):4}    "
            print(line)


def print_tags(sets: dict[str, tuple[list[str], list[frozenset[str]]]]) -> None:
    taggers: dict[str, tuple[Callable[[str], tuple[str, ...]], tuple[str, ...]]] = {"ours": (tags.of, tags.TAGS)}
    try:
        taggers["ConText"] = (context_tags(), ("negated", "uncertain"))
    except ImportError as error:
        print(f"left out: ConText ({error.name} is not installed)")
    for name, (words, true) in sets.items():
        print(f"\nTags, {name}: {len(words)} sentences\n{'':22}      n  precision recall    F1  accuracy")
        for tagger, (tag, known) in taggers.items():
            predicted = [tag(sentence) for sentence in words]
            for each in known:
                scores = tag_scores(true, predicted, each).values()
                count = sum(each in tags for tags in true)
                print(f"{tagger:10}{each:12}{count:7}   " + "".join(f"{100 * value:8.1f}" for value in scores))
        right = statistics.mean(set(tags.of(a)) == b for a, b in zip(words, true, strict=True))
        print(f"ours      all five    {100 * right:8.1f}% of the sentences have exactly the tags of the gold")


def print_speed(splitters: dict[str, Splitter], texts: Sequence[str]) -> None:
    """Sentences a second of processor time, medians of three rounds that take turns."""
    count = sum(len(sentences.split(text)) for text in texts)
    spent: dict[str, list[float]] = {name: [] for name in splitters}
    for _ in range(3):
        for name, split in splitters.items():
            started = time.process_time()
            for text in texts:
                split(text)
            spent[name].append(time.process_time() - started)
    base = statistics.median(spent["ours"])
    print(f"\nSpeed over {len(texts)} sections, {count} sentences (ours makes the tags too)")
    for name, seconds in spent.items():
        middle = statistics.median(seconds)
        print(f"{name:22}{count / middle:10.0f} sentences a second, {middle / base:8.2f} times our time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, help="folder with the archive of Open-i reports")
    texts = section_texts(archive_of_reports(parser.parse_args().reports))
    sets = {name: gold(name, texts) for name in ("dev", "test")}
    annotated = {one.report for found in sets.values() for one in found}
    others = [text for (report, _), text in texts.items() if report not in annotated]
    splitters = made_splitters(others)
    print_boundaries(splitters, {**sets, **gold_without_tags()})
    labelled = {name: labelled_sentences(found) for name, found in sets.items()}
    known = {words.lower() for words in labelled["dev"][0]}
    fresh = [pair for pair in zip(*labelled["test"], strict=True) if pair[0].lower() not in known]
    labelled["test, sentences that are not in dev"] = ([a for a, _ in fresh], [b for _, b in fresh])
    print_tags(labelled)
    print_speed(splitters, random.Random(0).sample(others, 200))


if __name__ == "__main__":
    main()
