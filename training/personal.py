"""Lists of films with the memory of a simulated user: an entity that some of a query's relevant films share, among
others that have nothing to do with it; and lists with a stranger's memory alone."""

import re
import zlib

TYPES = (("genres", "genre"), ("characters", "character"), ("director", "person"), ("actors", "person"),
         ("title", "work"))
NOBODY = re.compile(r"(?i)(him|her|them|it)?sel(f|ves)|narrator|various.*|.*voices?.*|.*[#\d].*")


def entities(film):
    """Lines of memory as the service writes them: `label (type)`."""
    found = []
    for field, kind in TYPES:
        values = film.get(field) or []
        for value in [values] if isinstance(values, str) else values[:6]:
            parts = re.split(r"\s*/\s*", re.sub(r"\([^)]*\)?", "", value)) if kind == "character" else [value]
            found += [f"{p.strip()} ({kind})" for p in parts if p.strip() and not (
                kind == "character" and NOBODY.fullmatch(p.strip()))]
    return list(dict.fromkeys(found))


def likes(films, relevant, rng):
    """An entity that some of the relevant films share but not all, and these films; None when there is no such one."""
    sharing = {}
    for key in relevant:
        for entity in entities(films[key]):
            sharing.setdefault(entity, []).append(key)
    kinds = {}
    for entity, keys in sorted(sharing.items()):
        if len(keys) < len(relevant) and len(keys) <= 4:
            kinds.setdefault(entity.rsplit("(", 1)[1], []).append(entity)
    if not kinds:
        return None
    weights = {"genre)": 5, "character)": 3, "person)": 2, "work)": 2}
    kind = rng.choices(list(kinds), [weights[k] for k in kinds])[0]
    liked = rng.choice(kinds[kind])
    return liked, sharing[liked]


def strangers(films, keys, avoid, rng, count):
    """Entities of other films that none of {@code avoid} has."""
    shunned = {e for key in avoid for e in entities(films[key])}
    lines = []
    for _ in range(20 * count):
        choice = [e for e in entities(films[rng.choice(keys)]) if e not in shunned and e not in lines]
        if choice and len(lines) < count:
            lines.append(rng.choice(choice))
    return lines


def training_lists(films, queries, rng, part):
    """(id, query, memory, {film: grade}): grade 2 for relevant films with the entity, 1 for other relevant ones."""
    keys = sorted(films)
    for query_id, text, grades in queries:
        relevant = [d for d, g in grades.items() if g > 0]
        if not part(query_id):
            continue
        known = likes(films, relevant, rng) if len(relevant) > 1 else None
        if known and rng.random() < 0.7:
            liked, sharing = known
            memory = strangers(films, keys, relevant, rng, rng.randint(0, 4))
            memory.insert(min(len(memory), int(rng.expovariate(0.8))), liked)
            yield f"{query_id}-own", text, memory, {**grades, **{d: 2 for d in sharing}}
        elif rng.random() < 0.5:
            yield f"{query_id}-other", text, strangers(films, keys, relevant, rng, rng.randint(1, 5)), grades


def validation_lists(films, lists, rng):
    """
    (id, query, {own, other, none: memory}, films that count): of lists of candidates with judgments, those where the
    entity of a simulated user is in some of the relevant candidates and not in all.
    """
    keys = sorted(films)
    for query_id, text, grades in lists:
        relevant = [d for d, g in grades.items() if g > 0]
        known = likes(films, relevant, rng) if len(relevant) > 1 else None
        if known:
            liked, sharing = known
            own = strangers(films, keys, relevant, rng, 3)
            own.insert(zlib.crc32(query_id.encode()) % 3, liked)
            yield query_id, text, {"own": own, "other": strangers(films, keys, relevant, rng, 4), "none": []}, sharing
