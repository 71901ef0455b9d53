"""Lists of documents for training and validation, as arrays."""

import numpy as np
import torch

#: share of the lists, weight of the teachers, whether documents without a judgment may be relevant
SOURCES = {
    "movies/train": (0.24, 0.3, False),
    "personal/train": (0.06, 0.2, False),
    "scifact/train": (0.10, 0.7, False),
    "scifact-cloze/train": (0.18, 1.0, True),
    "movies-cloze/train": (0.05, 1.0, True),
    "entities/train": (0.09, 0.7, True),
    "conversations/train": (0.03, 1.0, True),
    "dictionary/train": (0.12, 1.0, True),
    "encyclopedia/train": (0.19, 1.0, True),
    "thesaurus/train": (0.07, 1.0, True),
    "manuals/train": (0.03, 1.0, True),
}

#: padded widths of document blocks in training: few, so that few kernels are compiled
WIDTHS = (80, 112, 160)
#: of the teachers' mean standardised similarity, in the softmax to learn from
SHARPNESS = 2.5
#: how often a made list goes without its own document, so that only the teachers say what is near
ORPHANED = 0.25


def kept_tokens(tokens, lengths, start, ends, share):
    """
    Which tokens of blocks are kept, most wanted first, and which of these columns are there: the last, the end of the
    title, the title up to half of what is kept, then the rarest, which in a BPE vocabulary have the highest ids.

    tokens: [documents, tokens], padded; start: first token of titles; ends: token after the title
    """
    count, width = tokens.shape
    column = np.arange(width)
    wanted = np.maximum(1, np.ceil(share * lengths)).astype(np.int64)
    title = np.minimum(np.minimum(ends, lengths) - start, wanted // 2)
    # A token counts where it stands for the last time.
    named = np.where(column < lengths[:, None], tokens, -1 - column)
    order = np.argsort(named, 1, kind="stable")
    by_name = np.take_along_axis(named, order, 1)
    again = np.zeros(tokens.shape, bool)
    np.put_along_axis(again, order, np.pad(by_name[:, 1:] == by_name[:, :-1], ((0, 0), (0, 1))), 1)
    rank = np.where(again, 2_000_000, 1_000_000) - tokens * 4 - column / width
    rank[:, :start] = 3_000_000 + column[:start]
    rank = np.where((column >= start) & (column < start + title[:, None]), column, rank)
    each = np.arange(count)
    inside = ends < lengths
    rank[each[inside], ends[inside]] = -1
    rank[each, lengths - 1] = -2
    rank[column >= lengths[:, None]] = np.inf
    columns = min(width, (int(wanted.max()) + 7) // 8 * 8)
    return np.argsort(rank, 1, kind="stable")[:, :columns], np.arange(columns) < wanted[:, None]


class Lists:
    def __init__(self, path):
        with np.load(path) as data:
            self.arrays = {k: data[k] for k in data.files}
        a = self.arrays
        self.names = [str(n) for n in a["names"]]
        self.positions = int(a["last_position"])
        self.lengths = np.diff(a["documents_offsets"])
        self.titles = self.title_ends()
        self.teachers = []
        self.pools = {}

    def of(self, name):
        return np.flatnonzero(self.arrays["sets"] == self.names.index(name)) if name in self.names else np.array([], int)

    def title_ends(self):
        """Token after the title, per document; texts have no newlines, so the first one ends it."""
        a = self.arrays
        frame, newline = len(a["frame"]) - 1, a["frame"][-1]
        at = np.flatnonzero(a["documents"] == newline)
        starts = a["documents_offsets"][:-1] + frame
        return at[np.searchsorted(at, starts)] - a["documents_offsets"][:-1]

    def teach(self, teachers):
        """Vectors of each teacher, with mean and deviation of the similarity of pairs that have nothing to do with each
        other."""
        generator = np.random.default_rng(0)
        for teacher in teachers:
            documents, queries = teacher.documents(self.arrays), teacher.queries(self.arrays)
            pairs = [torch.from_numpy(generator.integers(0, len(v), 20000)).to(v.device) for v in (queries, documents)]
            similar = (queries[pairs[0]] * documents[pairs[1]]).sum(1)
            self.teachers.append((documents, queries, float(similar.mean()), float(similar.std())))

    def similarity(self, indices, rows):
        """Mean standardised similarity of queries and documents [lists, documents]; rows [lists, documents] or a range."""
        total = 0
        for documents, queries, mean, deviation in self.teachers:
            q = queries[torch.as_tensor(indices, device=queries.device)]
            if isinstance(rows, tuple):
                similar = q @ documents[rows[0]:rows[1]].T
            else:
                similar = torch.einsum("lx,ldx->ld", q, documents[torch.as_tensor(rows, device=documents.device)])
            total = total + (similar - mean) / deviation
        return total / len(self.teachers)

    def mine(self, depth=100):
        """Per training list, the first documents of reciprocal rank fusion of the teachers' order and BM25's."""
        for name in SOURCES:
            lists = self.of(name)
            if not len(lists):
                continue
            low, high = self.arrays["set_documents"][self.names.index(name)]
            terms = self.bm25(low, high)
            count = min(depth, int(high - low))
            for start in range(0, len(lists), 512):
                part = lists[start:start + 512]
                dense = self.similarity(part, (low, high))
                lexical = torch.sparse.mm(terms, self.query_terms(part, dense.device)).T
                fused = torch.zeros_like(dense)
                value = 1 / (60 + torch.arange(count, device=dense.device, dtype=dense.dtype)).expand(len(part), -1)
                for scores in (dense, lexical):
                    fused.scatter_add_(1, scores.topk(count, 1).indices, value)
                for i, row in zip(part, (fused.topk(count, 1).indices.cpu().numpy() + low).astype(np.int32)):
                    self.pools[int(i)] = row

    def bm25(self, low, high, k1=0.9, b=0.4):
        """Weights of word pieces in documents, sparse [documents, pieces]."""
        a = self.arrays
        offsets = a["document_words_offsets"][low:high + 1]
        words = a["document_words"][offsets[0]:offsets[-1]].astype(np.int64)
        lengths = np.diff(offsets)
        document = np.repeat(np.arange(high - low), lengths)
        keys, counts = np.unique(document * 30522 + words, return_counts=True)
        document, words = keys // 30522, keys % 30522
        frequency = np.bincount(words, minlength=30522)
        idf = np.log(1 + (high - low - frequency + 0.5) / (frequency + 0.5))
        weights = idf[words] * counts * (k1 + 1) / (counts + k1 * (1 - b + b * lengths[document] / lengths.mean()))
        device = self.teachers[0][0].device
        crow = np.searchsorted(document, np.arange(high - low + 1))
        return torch.sparse_csr_tensor(torch.from_numpy(crow), torch.from_numpy(words),
                                       torch.from_numpy(weights.astype(np.float32)), (high - low, 30522)).to(device)

    def query_terms(self, lists, device):
        a = self.arrays
        terms = torch.zeros(30522, len(lists))
        for j, i in enumerate(lists):
            words = a["query_words"][a["query_words_offsets"][i] + 1:a["query_words_offsets"][i + 1] - 1]
            terms[torch.from_numpy(words.astype(np.int64)), j] = 1
        return terms.to(device)

    def sample(self, i, rng, documents, orphan):
        """Documents of a training list in random order, and their grades; with orphan without the relevant ones."""
        a = self.arrays
        there = a["rows"][i] >= 0
        rows, grades = a["rows"][i][there], a["grades"][i][there]
        relevant = rows[grades > 0]
        most = min(6, documents // 5)
        chosen = relevant[:0] if orphan else relevant if len(relevant) <= most else rng.choice(relevant, most, replace=False)
        grade = dict(zip(rows.tolist(), grades.tolist()))
        taken = set(relevant.tolist())
        room = documents - len(chosen)
        judged = rows[grades == 0]
        picked = list(dict.fromkeys(judged[:room * 4 // 10].tolist()))
        taken.update(picked)
        pool = np.array([r for r in self.pools[int(i)].tolist() if r not in taken], dtype=np.int64)
        # The first candidates matter most: they are taken more often.
        order = np.argsort(rng.exponential(size=len(pool)) * (np.arange(len(pool)) + 12))
        picked += pool[order[:max(0, room - len(picked) - max(1, documents // 8))]].tolist()
        taken.update(picked)
        low, high = a["set_documents"][a["sets"][i]]
        while len(picked) < room:
            r = int(rng.integers(low, high))
            if r not in taken:
                picked.append(r)
        all_rows = np.array(chosen.tolist() + picked)
        shuffled = rng.permutation(documents)
        return all_rows[shuffled], np.array([grade.get(r, 0) for r in all_rows.tolist()])[shuffled]

    def blocks(self, rows, longest, width=0):
        """Padded tokens [documents, tokens] and their numbers; as wide as needed in multiples of 8, at least width."""
        a = self.arrays
        lengths = np.minimum(self.lengths[rows], longest)
        width = max(width, (int(lengths.max()) + 7) // 8 * 8)
        position = np.minimum(np.arange(width), lengths[:, None] - 1)
        return a["documents"][a["documents_offsets"][rows][:, None] + position].astype(np.int64), lengths

    def kept(self, rows, lengths, share):
        """Tokens that a document keeps, as KeptTokens of the service chooses them, and which of the columns are there."""
        tokens, _ = self.blocks(rows, int(lengths.max()))
        return kept_tokens(tokens, lengths, len(self.arrays["frame"]) - 1, self.titles[rows], share)

    def last(self, indices):
        """Last blocks, padded at the end (what is there never sees it); indices of the query's tokens; which count."""
        a = self.arrays
        lengths, counts = np.diff(a["last_offsets"])[indices], np.diff(a["signals_offsets"])[indices]
        position = np.minimum(np.arange((int(lengths.max()) + 7) // 8 * 8), lengths[:, None] - 1)
        tokens = a["last"][a["last_offsets"][indices][:, None] + position].astype(np.int64)
        column = np.minimum(np.arange(int(counts.max())), counts[:, None] - 1)
        signals = a["signals"][a["signals_offsets"][indices][:, None] + column].astype(np.int64)
        return tokens, signals, np.arange(signals.shape[1]) < counts[:, None]


class Batch:
    """Blocks of lists; everything a pass needs."""

    def __init__(self, lists, indices, rows, longest, width=0, shares=()):
        self.indices, self.rows = indices, rows
        flat = rows.ravel()
        self.tokens, self.lengths = lists.blocks(flat, longest, width)
        self.present = np.arange(self.tokens.shape[1]) < self.lengths[:, None]
        self.kept = {share: lists.kept(flat, self.lengths, share) for share in shares}
        self.last, self.signals, self.counted = lists.last(indices)

    def to(self, device):
        def moved(x):
            return torch.from_numpy(x).to(device, non_blocking=True)

        for name in ("tokens", "present", "last", "signals", "counted"):
            setattr(self, name, moved(getattr(self, name)))
        self.kept = {share: tuple(map(moved, pair)) for share, pair in self.kept.items()}
        return self


class Sampler:
    """Endless batches of training lists, seeded."""

    def __init__(self, lists, seed, blocks, keep):
        self.lists, self.blocks, self.keep = lists, blocks, keep
        self.rng = np.random.default_rng(seed)
        self.names = [n for n in SOURCES if len(lists.of(n))]
        self.shares = np.array([SOURCES[n][0] for n in self.names])
        self.shares /= self.shares.sum()
        self.orders = {n: [] for n in self.names}

    def next(self):
        rng = self.rng
        name = str(rng.choice(self.names, p=self.shares))
        documents = int(rng.choice([20, 30, 60, 120], p=[0.2, 0.4, 0.25, 0.15]))
        count = max(1, self.blocks // documents)
        if len(self.orders[name]) < count:
            self.orders[name] = rng.permutation(self.lists.of(name)).tolist() * (1 + count // len(self.lists.of(name)))
        indices = np.array([self.orders[name].pop() for _ in range(count)])
        made = SOURCES[name][2]
        sampled = [self.lists.sample(i, rng, documents, made and rng.random() < ORPHANED) for i in indices]
        rows = np.stack([s[0] for s in sampled])
        longest = int(rng.choice([160, 112, 80], p=[0.6, 0.25, 0.15]))
        needed = min(longest, int(self.lists.lengths[rows].max()))
        share = [0.1, 0.1, 0.2, None][rng.integers(4)] if rng.random() < self.keep else 0
        batch = Batch(self.lists, indices, rows, longest, next(w for w in WIDTHS if w >= needed),
                      [share] if share else [])
        int8 = bool(rng.random() < 0.5)
        batch.name = name
        # All tokens are read as stored in eight bits.
        batch.stored = None if share == 0 else (share, int8 or share is None)
        batch.grades = torch.from_numpy(np.stack([s[1] for s in sampled]))
        return batch
