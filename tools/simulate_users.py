"""Simulates the demo's users from real queries and judgments, as UBI 1.3 items.

Queries and the films judged relevant to them (grade 1) come from the movie data set (elastic/elasticsearch-labs,
Apache-2.0). What is made up is who asked: each persona below draws the queries whose relevant films fit a taste,
in sessions over the last 60 days, and clicks relevant films. Every item says so (`simulated`: true).

Usage: python3 tools/simulate_users.py DATA_DIR | gzip -9n > src/main/resources/demo/simulated-users.ndjson.gz
DATA_DIR holds movies/corpus.jsonl.gz and movies/judgments.tsv.gz.

A line is a UBI query or event whose `timestamp` is replaced by `seconds_ago`, counted back from the moment of loading.
"""

import collections
import gzip
import json
import pathlib
import random
import sys
import uuid

NAMESPACE = uuid.UUID("5b1f9d0e-7d0c-4c52-9f0e-1f2f6a0c7a11")
DAY = 86_400
SESSIONS = (9, 15)
QUERIES_PER_SESSION = (2, 5)

# Taste: any of the directors, actors or genres (lower case) of a film.
PERSONAS = {
    "ana": {"directors": {"denis villeneuve", "christopher nolan", "ridley scott", "james cameron", "alex garland"}},
    "ben": {"directors": {"james wan", "john carpenter", "mike flanagan"}, "genres": {"horror"}},
    "chloe": {"genres": {"romance"}, "not_genres": {"action", "horror", "science fiction", "sci-fi"}},
    "daniel": {"actors": {"william shatner", "leonard nimoy", "patrick stewart", "chris pine", "mark hamill"}},
    "emi": {"directors": {"hayao miyazaki", "makoto shinkai", "kobun shizuno", "isao takahata", "mamoru hosoda"}},
    "farid": {"actors": {"vin diesel", "jason statham", "keanu reeves", "tom cruise"}},
    "grace": {"directors": {"john lasseter", "kyle balda", "pete docter", "andrew stanton", "brad bird"}},
    "hugo": {"directors": {"ishirō honda", "adam wingard", "gareth edwards", "peter jackson"}},
    "ines": {"directors": {"david yates", "chris columbus", "alfonso cuarón", "tim burton"}},
    "jonas": {"directors": {"martin scorsese", "quentin tarantino", "david fincher", "guy ritchie", "joel coen"}},
    "kira": {"directors": {"joss whedon", "anthony russo", "jon watts", "taika waititi", "james gunn", "jon favreau"}},
    "liam": {"genres": {"musical", "music", "documentary"}, "not_genres": {"horror"}},
}


def lower(values):
    return {value.lower() for value in values}


def fits(film, taste):
    genres = lower(film["genres"])
    if genres & taste.get("not_genres", set()):
        return False
    return (
        film["director"].lower() in taste.get("directors", ())
        or bool(lower(film["actors"]) & taste.get("actors", set()))
        or bool(genres & taste.get("genres", set()))
    )


def read(data):
    films = {}
    with gzip.open(data / "movies" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            film = json.loads(line)
            films[film["id"]] = film
    texts, relevant = {}, collections.defaultdict(list)
    with gzip.open(data / "movies" / "judgments.tsv.gz", "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            query_id, text, film_id, grade = line.rstrip("\n").split("\t")
            if grade == "1" and film_id in films:
                texts[query_id] = text
                relevant[query_id].append(films[film_id])
    return texts, relevant


def choose(texts, relevant, taste, rng, wanted):
    """Queries that fit the taste; those about the same film stay together so that sessions have a thread."""
    about = collections.defaultdict(list)
    for query_id in sorted(texts):
        films = relevant[query_id]
        if len(texts[query_id]) <= 60 and sum(fits(film, taste) for film in films) >= 0.6 * len(films):
            best = max((film for film in films if fits(film, taste)), key=lambda film: film["votes"])
            if best["votes"] >= 200:
                about[best["id"]].append(query_id)
    threads = list(about.values())
    rng.shuffle(threads)
    chosen = []
    for ids in threads:
        rng.shuffle(ids)
        chosen.extend(ids[: rng.randint(1, 3)])
        if len(chosen) >= wanted:
            break
    return chosen[:wanted]


def simulate(name, taste, texts, relevant):
    rng = random.Random(f"attune-{name}")
    user = f"demo-{name}"
    sessions = rng.randint(*SESSIONS)
    sizes = [rng.randint(*QUERIES_PER_SESSION) for _ in range(sessions)]
    queries = iter(choose(texts, relevant, taste, rng, sum(sizes)))
    starts = sorted((rng.uniform(0.05, 60) for _ in range(sessions)), reverse=True)
    items = []
    for number, (size, days) in enumerate(zip(sizes, starts)):
        session = str(uuid.uuid5(NAMESPACE, f"{user}/session/{number}"))
        ago = int(days * DAY)
        for _ in range(size):
            query = next(queries, None)
            if query is None:
                return items
            query_id = str(uuid.uuid5(NAMESPACE, f"{user}/{query}"))
            items.append(
                {
                    "application": "attune-demo",
                    "query_id": query_id,
                    "client_id": user,
                    "user_query": texts[query],
                    "query_attributes": {"user_id": user, "session_id": session, "simulated": True},
                    "seconds_ago": ago,
                }
            )
            films = [film for film in relevant[query] if fits(film, taste)]
            films.sort(key=lambda film: -film["votes"])
            for position, film in enumerate(films[: rng.choice((1, 1, 1, 2))], start=1):
                ago = max(60, ago - rng.randint(8, 40))
                items.append(
                    {
                        "application": "attune-demo",
                        "action_name": "click",
                        "event_id": str(uuid.uuid5(NAMESPACE, f"{query_id}/{film['id']}")),
                        "query_id": query_id,
                        "client_id": user,
                        "session_id": session,
                        "event_attributes": {
                            "user_id": user,
                            "simulated": True,
                            "object": {"object_id": film["id"], "object_id_field": "id", "title": film["title"]},
                            "position": {"ordinal": position},
                        },
                        "seconds_ago": ago,
                    }
                )
            ago = max(60, ago - rng.randint(30, 300))
    return items


def main():
    texts, relevant = read(pathlib.Path(sys.argv[1]))
    for name, taste in PERSONAS.items():
        items = simulate(name, taste, texts, relevant)
        queries = sum("user_query" in item for item in items)
        print(f"demo-{name}: {queries} queries, {len(items) - queries} clicks", file=sys.stderr)
        for item in items:
            print(json.dumps(item, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
