"""Writes examples of next queries in the prompt of the service's suggestions (SuggestionPrompt): context and topic with the
first words of the answer, all in lower case, and how people really went on.

Usage: python prepare_suggestions.py --gguf MODEL.gguf --data DATA OUT.npz

  films           queries of the movie judgments that name a film, person, character or genre of a relevant film; page,
                  memory and earlier queries are made of films with the same entity (simulated users)
  conversations   consecutive questions of CAsT 2019 to 2021 and iKAT 2023, without their function words, about the words
                  that both share
  questions       questions of SimpleQuestions that name an entity of Wikidata, without their function words
  shared          questions of NQ and of query well-formedness after others with the same words (simulated sessions)

Of films and conversations, several contexts are drawn for each query for training. What breaks the form that is asked for (a
word twice, no end within 16 tokens) is no example. A film query is of the part of its id, a conversation of the part of its
topic, a question of the part of its entity; nothing is written of the test part, and of questions only what trains.
"""

import argparse
import gzip
import json
import pathlib
import random
import re
import zlib

import numpy as np

from make_collections import STOP
from personal import entities
from prepare import lines, movies
from smol_tokens import Blocks
from suggestion_form import TOKENS

INSTRUCTION = """<|im_start|>system
You write the next search query of a person. Use the topic and keep it short.<|im_end|>
<|im_start|>user
Memory: christopher nolan (4 times)
Searched: space movies
Topic: christopher nolan (person)<|im_end|>
<|im_start|>assistant
christopher nolan space movies<|im_end|>
<|im_start|>user
Searched: breakfast
Topic: sourdough (food)<|im_end|>
<|im_start|>assistant
sourdough breakfast recipes<|im_end|>
<|im_start|>user
Memory: tom hanks (twice)
Page: saving private ryan
Searched: war films
Topic: saving private ryan (work)<|im_end|>
<|im_start|>assistant
films like saving private ryan<|im_end|>
<|im_start|>user"""
ASKING = STOP | set("i me my you your he she his her us tell about more please does s re there any some also know want need "
                    "should if when so no yes just like get make many much most other".split())

#: contexts drawn for each query of films and conversations for training
DRAWS = 3

BLOCKED = {line.strip() for line in open(pathlib.Path(__file__).parent.parent / "src/main/resources/suggestion/blocked.txt")
           if line.strip() and not line.startswith("#")} | {"xxx"}


def part(key):
    bucket = zlib.crc32(key.encode()) % 10
    return "train" if bucket < 8 else "validation" if bucket == 8 else "test"


def plain(text):
    return " ".join(re.findall(r"[a-z0-9'’-]+", text.lower()))


def times(count):
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


class Prompts:
    def __init__(self, gguf):
        self.blocks = Blocks(gguf)
        self.instruction = self.blocks.with_controls(INSTRUCTION)
        self.answer = self.blocks.with_controls("<|im_end|>\n<|im_start|>assistant\n")
        self.end = self.blocks.with_controls("<|im_end|>")
        self.frames = {}
        self.rows = {"train": [], "validation": []}

    def line(self, name, text, budget):
        if not text.strip():
            return []
        frame = self.frames.setdefault(name, self.blocks.with_controls(f"\n{name}:"))
        return frame + self.blocks.cut(text.lower(), budget)

    def add(self, where, query, topic, kind, start, rest, memory=(), before=(), session=(), page=""):
        """start: first words of the answer; rest: how it goes on."""
        words = f"{start} {rest}".split()
        if where == "test" or not rest or BLOCKED.intersection(words) or len(words) > 8:
            return
        # Validation keeps what people wrote, whatever its form.
        if where == "train" and len(set(words)) < len(words):
            return
        context = (self.line("Memory", "; ".join(f"{m} ({times(n)})" for m, n in memory), 64)
                   + self.line("Before", "; ".join(before), 40) + self.line("Session", "; ".join(session), 40)
                   + self.line("Page", page, 48) + self.line("Searched", query, 48))
        context = context or self.blocks.with_controls("\n")
        first = self.blocks.encode(start)
        answer = self.blocks.encode(start + " " + rest)
        if answer[:len(first)] != first or len(first) > 24:
            return
        if where == "train" and len(answer) - len(first) >= TOKENS:
            return
        prompt = (context + self.line("Topic", topic, 24) + self.blocks.cut(f"({kind})".lower(), 6) + self.answer + first)
        self.rows[where].append((prompt, answer[len(first):] + self.end))


def film_examples(prompts, films, judged, rng):
    named = {}
    for query_id, text, grades in judged:
        query = plain(text)
        relevant = [d for d, g in grades.items() if g > 0 and d in films]
        found = {}
        for key in relevant[:8]:
            for entity in entities(films[key]):
                label, kind = entity[:-1].rsplit(" (", 1)
                if f" {plain(label)} " in f" {query} " and plain(label):
                    found.setdefault((label, kind), key)
        for (label, kind), key in sorted(found.items(), key=lambda e: -len(e[0][0]))[:2]:
            named.setdefault((label, kind), []).append((query_id, query, key))
    queries_of = {}
    for entity, uses in named.items():
        for query_id, query, key in uses:
            queries_of.setdefault(key, set()).add(query)
    everything = sorted(films)

    def example(label, kind, query_id, query, key, rng):
        short = plain(label)
        at = f" {query} ".index(f" {short} ")
        before_it, rest = query[:at].strip(), query[at + len(short):].strip()
        film = films[key]
        near = sorted(q for q in queries_of[key] if q != query)
        earlier = rng.choice(near) if near and rng.random() < 0.6 else rng.choice(
            [g.lower() for g in film.get("genres") or ["film"]]) + rng.choice([" movies", " films", ""])
        if before_it and rest == "" or before_it and rng.random() < 0.5:
            start, rest, earlier = before_it, query[len(before_it):].strip(), before_it
        elif before_it:
            return
        else:
            start = short
        memory = [(label, rng.randint(1, 5))] if rng.random() < 0.6 else []
        for _ in range(rng.randint(0, 3)):
            source = film if rng.random() < 0.5 else films[rng.choice(everything)]
            memory.append((rng.choice(entities(source))[:-1].rsplit(" (", 1)[0], rng.randint(1, 4)))
        rng.shuffle(memory)
        page = f"{film['title']}. {film.get('overview') or ''}" if rng.random() < 0.4 else ""
        past = rng.sample(near, min(len(near), 2)) if memory and rng.random() < 0.4 else []
        session = [earlier] if rng.random() < 0.3 else []
        prompts.add(part(query_id), earlier if rng.random() < 0.9 else "", label, kind, start, rest,
                    memory[:4] if rng.random() < 0.8 else [], [q for q in past if q != query], session, page)

    more = random.Random(2)
    for (label, kind), uses in sorted(named.items()):
        for use in uses:
            example(label, kind, *use, rng)
            for _ in range(DRAWS - 1 if part(use[0]) == "train" else 0):
                example(label, kind, *use, more)


def conversations(data):
    """Lists of (topic, questions that stand for themselves)."""
    topics = {}
    for line in lines(data / "cast/2019_data_evaluation_evaluation_topics_annotated_resolved_v1.0.tsv.gz"):
        turn, text = line.rstrip("\n").split("\t")
        topics.setdefault("cast2019-" + turn.split("_")[0], []).append(text)
    for year in ("2020", "2021"):
        path = data / f"cast/{year}_{year}_manual_evaluation_topics_v1.0.json.gz"
        for topic in json.loads(gzip.open(path, "rt").read()):
            topics[f"cast{year}-{topic['number']}"] = [t["manual_rewritten_utterance"] for t in topic["turn"]]
    for name in ("train", "test"):
        for topic in json.loads(gzip.open(data / f"ikat2023/2023_{name}_topics.json.gz", "rt").read()):
            topics[f"ikat{name}-{topic['number'].split('-')[0]}-{topic['number']}"] = [
                t["resolved_utterance"] for t in topic["turns"]]
    return topics


def content(question):
    return [w for w in plain(question).split() if w not in ASKING]


def runs_of(words):
    """Up to three words in a row; a word alone has five letters."""
    return [tuple(words[a:b]) for a in range(len(words)) for b in range(a + 1, min(a + 3, len(words)) + 1)
            if b > a + 1 or len(words[a]) >= 5]


def conversation_examples(prompts, topics, rng):
    more = random.Random(3)
    for name, questions in topics.items():
        # All turns of a topic, and of its variants, belong to one part.
        where = part(name.rsplit("-", 1)[0] if name.startswith("ikat") else name)
        words = [content(q) for q in questions]
        for i in range(1, len(questions)):
            seen = {w for earlier in words[:i] for w in earlier}
            runs = [run for run in runs_of(words[i]) if seen.issuperset(run)]
            if not runs:
                continue

            def example(topic, session, rng):
                rest = [w for w in dict.fromkeys(words[i]) if w not in topic]
                memory = [(" ".join(topic), rng.randint(1, 4))] if rng.random() < 0.4 else []
                prompts.add(where, questions[i - 1], " ".join(topic), "topic", " ".join(topic), " ".join(rest[:4]),
                            memory, session=questions[max(0, i - 1 - session):i - 1])

            example(max(runs, key=lambda run: (len(run), sum(map(len, run)))), 2, rng)
            for _ in range(DRAWS - 1 if where == "train" else 0):
                example(more.choice(runs), more.randint(0, 3), more)


def shared_examples(prompts, questions, rng):
    """Questions after others that have some words in a row in common, or after these words alone."""
    words = [content(q) for q in questions]
    having = {}
    for i, sequence in enumerate(words):
        for run in set(runs_of(sequence)):
            having.setdefault(run, []).append(i)
    for i, question in enumerate(questions):
        if part(plain(question)) != "train":
            continue
        # Words that very many questions have are no topic.
        runs = [run for run in dict.fromkeys(runs_of(words[i])) if len(having[run]) <= 60]
        if not runs:
            continue
        topic = max(runs, key=lambda run: (len(having[run]) > 1, len(run), sum(map(len, run)), rng.random()))
        others = [questions[j] for j in having[topic] if words[j] != words[i]]
        earlier = rng.sample(others, min(len(others), rng.randint(1, 3)))
        rest = [w for w in dict.fromkeys(words[i]) if w not in topic]
        memory = [(" ".join(topic), rng.randint(1, 4))] if rng.random() < 0.4 else []
        prompts.add("train", earlier[-1] if earlier else " ".join(topic), " ".join(topic), "topic", " ".join(topic),
                    " ".join(rest[:4]), memory, session=earlier[:-1])


def asked(data):
    """Questions that people asked a search engine or each other."""
    found = [json.loads(line)["question"] for line in lines(data / "query-text/NQ-open.dev.jsonl.gz")]
    found += [line.split("\t")[0] for line in lines(data / "query-text/query-wellformedness-train.tsv.gz")]
    return list(dict.fromkeys(found))


def question_examples(prompts, data, rng, limit=6000):
    with gzip.open(data / "wikidata-fb15k/entity2wikidata.json.gz", "rt") as stream:
        labels = {e["wikidata_id"]: e["label"] for e in json.load(stream).values() if e.get("wikidata_id") and e.get("label")}
    about = {}
    for line in lines(data / "simplequestions/annotated_wd_data_train.txt.gz"):
        subject, _, _, question = line.rstrip("\n").split("\t")
        label = labels.get(subject)
        if label and part(subject) == "train" and f" {plain(label)} " in f" {plain(question)} ":
            about.setdefault((subject, label), []).append(plain(question))
    found = sorted(about.items())
    rng.shuffle(found)
    taken = 0
    for (subject, label), questions in found:
        for question in questions[:3]:
            start = plain(label)
            rest = [w for w in dict.fromkeys(f" {question} ".replace(f" {start} ", " ").split())
                    if w not in ASKING and w not in start.split()]
            if taken < limit and rest:
                others = [q for q in questions if q != question][:2]
                memory = [(label, rng.randint(1, 4))] if rng.random() < 0.4 else []
                prompts.add("train", rng.choice(others) if others and rng.random() < 0.5 else start, label, "topic", start,
                            " ".join(rest[:4]), memory, session=others if rng.random() < 0.3 else [])
                taken += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    options = parser.parse_args()
    rng = random.Random(1)
    prompts = Prompts(options.gguf)
    film_examples(prompts, *movies(options.data), rng)
    made = {k: len(v) for k, v in prompts.rows.items()}
    conversation_examples(prompts, conversations(options.data), rng)
    print("films", made, "and conversations", {k: len(v) for k, v in prompts.rows.items()})
    question_examples(prompts, options.data, rng)
    print("and questions", {k: len(v) for k, v in prompts.rows.items()})
    shared_examples(prompts, asked(options.data), rng)
    print("all", {k: len(v) for k, v in prompts.rows.items()})
    arrays = {"instruction": np.array(prompts.instruction, np.uint16)}
    for where, rows in prompts.rows.items():
        arrays[f"{where}_films"] = np.array(made[where])
        for i, name in enumerate(("prompt", "answer")):
            arrays[f"{where}_{name}"] = np.array([t for r in rows for t in r[i]], np.uint16)
            arrays[f"{where}_{name}_offsets"] = np.cumsum([0, *(len(r[i]) for r in rows)])
    np.savez_compressed(options.out, **arrays)
    for row in rng.sample(prompts.rows["train"], 6) + prompts.rows["train"][-4:]:
        print(repr(prompts.blocks.tokenizer.decode(row[0], skip_special_tokens=False)), "→",
              repr(prompts.blocks.tokenizer.decode(row[1], skip_special_tokens=False)))


if __name__ == "__main__":
    main()
