// Attention of the packed query rows of documents and last blocks: 192 rows a block, three warpgroups of 64, which multiply by
// wgmma; a fourth brings keys and values into a ring of tiles of 64 keys, running ahead over items, so that the start of one
// overlaps the end of another. Places in the key table are fetched before the tiles that lie there. What an item is, and what it
// leaves, is said in attention.cuh. Compiled for HEAD_SIZE.

constexpr int D = HEAD_SIZE, GROUPS = 3, ROWS = GROUPS * 64, LOADERS = 128, THREADS = GROUPS * 128 + LOADERS;
// Tiles are in halves of 64 channels, rows of 128 bytes swizzled by 128 bytes.
constexpr int HALF = KEYS * 128, TILE = KEYS * D * 2, STAGE = 2 * TILE, Q_BYTES = ROWS * D * 2;
constexpr int STAGES = D == 64 ? 8 : 5, SLOTS = D == 64 ? 2 : 1;
// Tiles under way before the loaders wait for one; places of tiles kept, and fetched ahead.
constexpr int LAG = D == 64 ? 3 : 2, RING = 8, AHEAD = RING - LAG - 1;
constexpr int Q_AT = STAGES * STAGE, PLACES_AT = Q_AT + SLOTS * Q_BYTES, SCALES_AT = PLACES_AT + RING * KEYS * 16;
constexpr int SHARED_BYTES = SCALES_AT + RING * KEYS * 4;
#ifndef SOFT
#define SOFT 1
#endif
#ifndef QREG
#define QREG (HEAD_SIZE == 64 ? 4 : 0)
#endif
#ifndef PING
#define PING 0
#endif
#ifndef FENCE
#define FENCE 1
#endif
#ifndef OVERLAP
#define OVERLAP 1
#endif

// A tile of packed rows and its keys, for those who multiply.
struct Work {
  int firstRow;      // packed, of the tile
  int rows;          // packed, of the sequence
  int batchRow;      // of the sequence's first token
  int context;
  int begin;
  int end;
  int partial;
  int head;
  int firstKey;
};

DEVICE void openItem(const AttentionArgs& a, int i, Work& w) {
  AttentionItem item = a.items[i / a.kvHeads];
  Sequence s = a.sequences[item.sequence];
  int group = a.heads / a.kvHeads;
  w.head = i % a.kvHeads;
  w.rows = s.tokens * group;
  w.firstRow = item.rowTile * ROWS;
  w.batchRow = s.firstRow;
  w.context = s.contextTokens;
  w.begin = item.keyBegin;
  w.end = min(item.keyEnd, s.contextTokens + min(w.rows - 1, w.firstRow + ROWS - 1) / group + 1);
  w.partial = item.partial;
  w.firstKey = s.firstKey;
}

// An item without keys, whose rows see none of its part, has one tile of which nothing counts.
DEVICE int tilesOf(int begin, int end) { return max(1, (end - begin + KEYS - 1) / KEYS); }

struct Barriers {
  u64 full[STAGES];
  u64 empty[STAGES];
  u64 queryFull[SLOTS];
  u64 queryFree[SLOTS];
  Work work[SLOTS];
};

DEVICE void initBarriers(Barriers& barriers) {
  #pragma unroll
  for (int i = 0; i < STAGES; i++) {
    barrierInit(&barriers.full[i], LOADERS / 32);
    barrierInit(&barriers.empty[i], GROUPS * 4);
  }
  #pragma unroll
  for (int i = 0; i < SLOTS; i++) {
    barrierInit(&barriers.queryFull[i], LOADERS / 32);
    barrierInit(&barriers.queryFree[i], GROUPS * 4);
  }
}

DEVICE void syncLoaders() { asm volatile("bar.sync 1, 128;" ::: "memory"); }

DEVICE u32 swizzled(int row, int chunk) { return row * 128 + ((chunk ^ (row & 7)) << 4); }

// Offset of 16-byte chunk c of a row of D channels in a tile of `rows`.
DEVICE u32 chunkAt(int rows, int row, int c) { return (c / 8) * rows * 128 + swizzled(row, c % 8); }

DEVICE int quotient(int row, int group, u32 inverse) { return group == 1 ? row : __umulhi(row, inverse); }

// Where a row of a tile lies: its head's keys, of which the lowest bit says that they are int8, the slot, and how far behind
// the key the value is, in units of 16 bytes. Takes the place of a Row.
struct Place {
  u64 keys;
  u32 token;
  u32 toValue;
};

// The warpgroup that loads. Each warp brings 16 rows of every tile and waits for no other warp. Tiles and items are counted from
// the first to the last run. AWAITS: queries are there when none of their words is UNWRITTEN any more, otherwise when ready() has
// returned.
template <bool Q8, bool AWAITS> struct Loader {
  static constexpr int PER_ROW = D / 16;                 // threads of a row: two chunks in bf16, one in int8
  static constexpr int WARP_ROWS = KEYS / (LOADERS / 32);
  static constexpr int PASSES = WARP_ROWS * PER_ROW / 32;
  static constexpr int SCALERS = D / 8;                  // threads of a row that is scaled, eight numbers each
  static constexpr int SCALED = WARP_ROWS * SCALERS / 32;
  const AttentionArgs& a;
  u8* shared;
  u32 base;
  Barriers* barriers;
  int thread, lane, firstOfWarp, count, layer;
  const bf16* q;
  int tile = 0, scaledTiles = 0, finished = 0, uses = 0;
  u32 carries = 0;                                       // bit tile % RING: queries come with the tile
  u32 single = 0;                                        // all rows of this warp are int8 of one segment,
  u32 coded = 0;                                         // some are int8
  int carried = 0;                                       // queries handed over
  int ended = 0, endedBefore = 0;                        // tiles up to the end of the last item, and of the one before
  int placed = 0, placedItem, placedFrom, placedEnd, placedKey;
  bool morePlaces;
  u64 scalesOf = 0;                                      // head whose keys' scales are:
  u32 scales[4];

  DEVICE Loader(const AttentionArgs& args, u8* at, Barriers* b, int items)
      : a(args), shared(at), base(sharedAddress(at)), barriers(b), thread(threadIdx.x % LOADERS), lane(threadIdx.x % 32),
        firstOfWarp(threadIdx.x % LOADERS / 32 * WARP_ROWS), count(items) {}

  DEVICE void openPlaces() {
    morePlaces = placedItem < count;
    if (!morePlaces) return;
    Work w;
    openItem(a, placedItem, w);
    placedFrom = w.begin;
    placedEnd = w.end;
    placedKey = w.firstKey;
  }

  DEVICE Place* places(int which) { return (Place*)(shared + PLACES_AT) + which % RING * KEYS + firstOfWarp; }

  // Requests the places of the next tile.
  DEVICE void fetchPlaces() {
    if (!morePlaces) return;
    if (lane < WARP_ROWS) {
      int row = firstOfWarp + lane, key = max(0, min(placedFrom + row, placedEnd - 1));
      copyAsync(base + PLACES_AT + (placed % RING * KEYS + row) * 16, a.table + placedKey + key, true);
    }
    placed++;
    placedFrom += KEYS;
    if (placedFrom >= placedEnd) {
      placedItem += gridDim.x;
      openPlaces();
    }
  }

  // Turns the rows of a tile, which have arrived, into places of a head, and requests scales.
  DEVICE void prepare(int which, int head) {
    if (which >= placed) return;
    bool int8 = false, same = true;
    u64 keys = 0;
    __syncwarp();
    if (lane < WARP_ROWS) {
      Place* to = places(which) + lane;
      Row row = *(const Row*)to;
      u32 toValue;
      int8 = Q8 && isInt8(row.segment);
      if (int8) {
        Int8Blocks b = int8Blocks(row.segment, row.capacity, layer, head, a.kvHeads, D);
        u32 valueScales = 4 * ((row.capacity + 3) & ~3u);
        keys = (u64)b.keys | 1;
        toValue = (u32)((b.values - b.keys + valueScales - 4 * D) / 16);
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::
            "r"(base + SCALES_AT + (which % RING * KEYS + firstOfWarp + lane) * 4), "l"(b.values + row.token * 4) : "memory");
      } else {
        u64 ofHead = (u64)row.capacity * D * 2;
        keys = row.segment + (2 * layer * a.kvHeads + head) * ofHead;
        toValue = (u32)(a.kvHeads * ofHead / 16);
      }
      *to = {keys, row.token, toValue};
    }
    __syncwarp();
    if (Q8) {
      u32 rows = __ballot_sync(~0u, int8), bit = 1u << which % RING;
      same = keys == __shfl_sync(~0u, keys, 0);
      bool one = __all_sync(~0u, same || lane >= WARP_ROWS);
      coded = rows ? coded | bit : coded & ~bit;
      single = one && rows ? single | bit : single & ~bit;
      if (int8 && (lane == 0 || keys != places(which)[lane - 1].keys)) {
        #pragma unroll
        for (int i = 0; i < D * 4; i += 128) prefetch((const u8*)(keys - 1) + i);
      }
    }
  }

  DEVICE const bf16* query(const Work& w, int row, int group, u32 inverse) {
    int safe = min(row, w.rows - 1), token = quotient(safe, group, inverse);
    return q + ((u64)(w.batchRow + token) * a.heads + w.head * group + safe - token * group) * D;
  }

  DEVICE void fetchQueries(const Work& w, int slot) {
    int group = a.heads / a.kvHeads;
    u32 inverse = 0xffffffffu / group + 1, to = Q_AT + slot * Q_BYTES;
    constexpr int CHUNKS = D / 8, STEP = LOADERS / CHUNKS, TOGETHER = 6;
    int c = thread % CHUNKS;
    #pragma unroll 4
    for (int r = thread / CHUNKS; r < ROWS && !AWAITS; r += STEP)
      copyAsync(base + to + chunkAt(ROWS, r, c), query(w, w.firstRow + r, group, inverse) + c * 8, w.firstRow + r < w.rows);
    #pragma unroll 1
    for (int first = thread / CHUNKS; first < ROWS && AWAITS; first += TOGETHER * STEP) {
      uint4 v[TOGETHER];
      bool all;
      do {
        all = true;
        #pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
          int row = w.firstRow + first + i * STEP;
          v[i] = row < w.rows ? loadShared16(query(w, row, group, inverse) + c * 8) : make_uint4(0, 0, 0, 0);
          all &= written(v[i]);
        }
      } while (!all);
      #pragma unroll
      for (int i = 0; i < TOGETHER; i++) *(uint4*)(shared + to + chunkAt(ROWS, first + i * STEP, c)) = v[i];
    }
  }

  // Rows of a warp in the order in which lanes take them: eight lanes that go together touch all banks.
  static DEVICE int inOrder(int i) { return D == 64 ? i / 8 * 8 + i % 2 * 4 + i % 8 / 2 : i; }

  DEVICE void fetchTile(int from, int end) {
    u32 to = base + tile % STAGES * STAGE;
    const Place* all = places(tile);
    int c = lane % PER_ROW;
    #pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
      int inWarp = inOrder(pass * (32 / PER_ROW) + lane / PER_ROW), r = firstOfWarp + inWarp;
      bool valid = from + r < end;
      Place p = all[inWarp];
      if (Q8 && (p.keys & 1)) {
        const u8* key = (const u8*)(p.keys - 1) + 4 * D + (u64)p.token * D + c * 16;
        copyAsync(to + swizzled(r, c), key, valid);
        copyAsync(to + TILE + swizzled(r, c), key + (u64)p.toValue * 16, valid);
        continue;
      }
      const u8* key = (const u8*)p.keys + (u64)p.token * (2 * D) + c * 16;
      const u8* value = key + (u64)p.toValue * 16;
      #pragma unroll
      for (int h = 0; h < 2; h++) {
        copyAsync(to + chunkAt(KEYS, r, c + h * PER_ROW), key + h * PER_ROW * 16, valid);
        copyAsync(to + TILE + chunkAt(KEYS, r, c + h * PER_ROW), value + h * PER_ROW * 16, valid);
      }
    }
  }

  // The scales of this lane's eight channels of a head's keys.
  DEVICE void takeScales(u64 keys) {
    if (keys == scalesOf) return;
    scalesOf = keys;
    const float4* from = (const float4*)(keys - 1) + lane % SCALERS * 2;
    float4 x = __ldg(from), y = __ldg(from + 1);
    scales[0] = packBf16(x.x, x.y);
    scales[1] = packBf16(x.z, x.w);
    scales[2] = packBf16(y.x, y.y);
    scales[3] = packBf16(y.z, y.w);
  }

  // Eight numbers times their scales.
  static DEVICE uint4 scaled(uint2 numbers, const u32 (&by)[4]) {
    u32 first = numbers.x ^ 0x80808080u, second = numbers.y ^ 0x80808080u;
    return make_uint4(scaledPair<0>(first, by[0]), scaledPair<1>(first, by[1]), scaledPair<0>(second, by[2]),
        scaledPair<1>(second, by[3]));
  }

  // Scales the int8 numbers of this warp's rows of a tile that has arrived; they lie at the start of the rows that they become.
  // Numbers of several rows are read before the first is scaled, since what takes time is waiting, and those of a row all before any
  // is written.
  DEVICE void scaleTile(int which) {
    u32 bit = 1u << which % RING;
    if (!(coded & bit)) return;
    u8* k = shared + which % STAGES * STAGE;
    const Place* all = places(which);
    const float* valueScales = (const float*)(shared + SCALES_AT) + which % RING * KEYS + firstOfWarp;
    int c = lane % SCALERS;
    if (single & bit) {
      takeScales(all[0].keys);
      constexpr int TOGETHER = 4;
      #pragma unroll
      for (int first = 0; first < SCALED; first += TOGETHER) {
        uint2 key[TOGETHER], value[TOGETHER];
        float scale[TOGETHER];
        #pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
          int inWarp = inOrder((first + i) * (32 / SCALERS) + lane / SCALERS), r = firstOfWarp + inWarp;
          u32 at = swizzled(r, c / 2) + c % 2 * 8;
          key[i] = *(const uint2*)(k + at);
          value[i] = *(const uint2*)(k + TILE + at);
          scale[i] = valueScales[inWarp];
        }
        __syncwarp();
        #pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
          int inWarp = inOrder((first + i) * (32 / SCALERS) + lane / SCALERS), r = firstOfWarp + inWarp;
          u32 at = chunkAt(KEYS, r, c), same = packBf16(scale[i], scale[i]), four[4] = {same, same, same, same};
          *(uint4*)(k + at) = scaled(key[i], scales);
          *(uint4*)(k + TILE + at) = scaled(value[i], four);
        }
      }
      return;
    }
    #pragma unroll 1
    for (int i = 0; i < SCALED; i++) {
      int inWarp = inOrder(i * (32 / SCALERS) + lane / SCALERS), r = firstOfWarp + inWarp;
      u64 keys = all[inWarp].keys;
      u32 at = swizzled(r, c / 2) + c % 2 * 8;
      uint2 key = *(const uint2*)(k + at), value = *(const uint2*)(k + TILE + at);
      __syncwarp();
      if (!(keys & 1)) continue;
      takeScales(keys);
      u32 same = packBf16(valueScales[inWarp], valueScales[inWarp]), four[4] = {same, same, same, same};
      *(uint4*)(k + chunkAt(KEYS, r, c)) = scaled(key, scales);
      *(uint4*)(k + TILE + chunkAt(KEYS, r, c)) = scaled(value, four);
    }
  }

  DEVICE void signal(u64* barrier) {
    __syncwarp();
    if (thread % 32 == 0) barrierArrive(barrier);
  }

  // Tiles that have arrived, before they are asked for.
  DEVICE void scaleBefore(int end) {
    if (!Q8) return;
    __syncwarp();
    while (scaledTiles < end) scaleTile(scaledTiles++);
  }

  // The copies of a tile have arrived: hands it to those who multiply.
  DEVICE void finish() {
    scaleBefore(finished + 1);
    signal(&barriers->full[finished % STAGES]);
    u32 bit = 1u << finished % RING;
    if (carries & bit) {
      carries &= ~bit;
      signal(&barriers->queryFull[carried++ % SLOTS]);
    }
    finished++;
  }

  // Queries that come with a tile.
  DEVICE void requestQueries(const Work& w, int with) {
    int slot = uses % SLOTS;
    if (uses >= SLOTS) {
      // Who still needs the slot gets its tiles first.
      if (finished < (SLOTS == 1 ? ended : endedBefore)) {
        waitForCopies();
        while (finished < tile) finish();
      }
      barrierWait(&barriers->queryFree[slot], (uses / SLOTS - 1) & 1);
    }
    if (thread == 0) barriers->work[slot] = w;
    fetchQueries(w, slot);
    carries |= 1u << with % RING;
    uses++;
  }

  // Hands over the tiles before `end`, all requested, once their queries are there.
  template <typename Ready> DEVICE void handOver(const Work& w, int end, Ready ready) {
    waitForCopies();
    scaleBefore(end);
    ready(false);
    requestQueries(w, end - 1);
    commitCopies();
    waitForCopies();
    while (finished < end) finish();
  }

  // All items in one layer. Tiles of the first item's context are requested before ready(), which waits for what the kernel or
  // phase before writes: queries and, when it is asked for them, the sequence's own keys and values.
  template <typename Ready> DEVICE void run(int ofLayer, const bf16* queries, bool isReady, Ready ready) {
    bool kept = isReady;
    layer = ofLayer;
    q = queries;
    placedItem = blockIdx.x;
    // Nobody needs the places that are fetched over.
    __syncwarp();
    openPlaces();
    #pragma unroll 1
    for (int i = 0; i < AHEAD; i++) fetchPlaces();
    commitCopies();
    waitForCopies();
    prepare(tile, blockIdx.x % a.kvHeads);
    if (isReady) ready(true);
    #pragma unroll 1
    for (int i = blockIdx.x; i < count; i += gridDim.x) {
      Work w;
      openItem(a, i, w);
      int tiles = tilesOf(w.begin, w.end);
      bool late = false;
      #pragma unroll 1
      for (int t = 0; t < tiles; t++, tile++) {
        int from = w.begin + t * KEYS;
        if (tile >= STAGES) barrierWait(&barriers->empty[tile % STAGES], (tile / STAGES - 1) & 1);
        if (!kept && min(from + KEYS, w.end) > w.context) {
          if (late) handOver(w, tile, ready);
          ready(true);
          isReady = kept = true;
          late = false;
        }
        if (t == 0) {
          late = !isReady;
          if (!late) requestQueries(w, tile);
        }
        fetchTile(from, w.end);
        // All of this warp have done with the places that are fetched over.
        __syncwarp();
        fetchPlaces();
        // There may be no room for another tile before one is used.
        if (late && (t == tiles - 1 || t == STAGES - 1)) {
          commitCopies();
          handOver(w, tile + 1, ready);
          isReady = true;
          late = false;
        } else {
          commitCopies();
          asm volatile("cp.async.wait_group %0;" :: "n"(LAG) : "memory");
          if (tile - finished >= LAG) finish();
        }
        prepare(tile + 1, t + 1 < tiles ? w.head : (i + gridDim.x) % a.kvHeads);
      }
      endedBefore = ended;
      ended = tile;
    }
    waitForCopies();
    while (finished < tile) finish();
    // Nobody may leave out what ready() stands for.
    if (!isReady) ready(false);
  }
};

// Descriptor of a tile whose rows of 128 bytes are the summed dimension; halves of 64 channels lie HALF apart.
DEVICE u64 transposed(u32 address) {
  return (u64)(address >> 4 & 0x3fff) | (u64)(HALF >> 4) << 16 | 64ull << 32 | 1ull << 62;
}

#define F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F8(d, i) F4(d, i), F4(d, (i) + 4)

// d = (accumulate ? d : 0) + 64 rows of a times 64 rows of b, both of 16 channels.
DEVICE void multiplyKeys(float (&d)[32], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, p, 1, 1, 0, 0;\n}\n"
      : F8(d, 0), F8(d, 8), F8(d, 16), F8(d, 24) : "l"(a), "l"(b), "r"(accumulate));
}

// d += 64 rows of a, 16 keys of each, times the values of those keys.
#if HEAD_SIZE == 64
DEVICE void multiplyValues(float (&d)[32], u32 a0, u32 a1, u32 a2, u32 a3, u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
      : F8(d, 0), F8(d, 8), F8(d, 16), F8(d, 24) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));
}
#else
DEVICE void multiplyValues(float (&d)[64], u32 a0, u32 a1, u32 a2, u32 a3, u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"
      : F8(d, 0), F8(d, 8), F8(d, 16), F8(d, 24), F8(d, 32), F8(d, 40), F8(d, 48), F8(d, 56)
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));
}
#endif

// The same with a in registers.
DEVICE void multiplyKeysR(float (&d)[32], const u32 (&a)[4], u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}\n"
      : F8(d, 0), F8(d, 8), F8(d, 16), F8(d, 24) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

DEVICE void fenceProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void waitForProducts() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }

// What a warpgroup's rows have summed up of an item; weights are 2^(logit * scale - offset).
struct Sums {
  float top[2];      // largest logit when weights were last rescaled
  float offset[2];
  float limit[2];    // logits beyond rescale
  float sum[2];
};

// By how much 2^ logits may exceed the offset before what was summed up is rescaled.
constexpr float SLACK = 10;

// w[4 j + 2 h + e]: row h * 8 + lane / 4 of the warp, key 8 j + 2 (lane % 4) + e. Rows see keys up to `last`. Whether what was
// summed up before is to be multiplied by `rescale`, for the whole warp.
DEVICE bool softmax(float (&w)[32], Sums& s, float (&rescale)[2], const int (&last)[2], bool masked, float scale) {
  int q = threadIdx.x % 4;
  float most[2];
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    if (masked) {
      #pragma unroll
      for (int j = 0; j < 8; j++) {
        if (j * 8 + 2 * q > last[h]) w[4 * j + 2 * h] = -INFINITE;
        if (j * 8 + 2 * q + 1 > last[h]) w[4 * j + 2 * h + 1] = -INFINITE;
      }
    }
    float maximum = -INFINITE, other = -INFINITE;
    #pragma unroll
    for (int j = 0; j < 8; j += 2) {
      maximum = fmaxf(maximum, fmaxf(w[4 * j + 2 * h], w[4 * j + 2 * h + 1]));
      other = fmaxf(other, fmaxf(w[4 * j + 4 + 2 * h], w[4 * j + 5 + 2 * h]));
    }
    most[h] = fmaxf(maximum, other);
  }
  // Seldom after the first tiles.
  bool grows = __any_sync(~0u, most[0] > s.limit[0] || most[1] > s.limit[1]);
  if (grows) {
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      float maximum = most[h];
      maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, 1));
      maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, 2));
      rescale[h] = 1;
      if (maximum > s.limit[h]) {
        rescale[h] = power2((s.top[h] - maximum) * scale);
        s.top[h] = maximum;
        s.offset[h] = maximum * scale;
        s.limit[h] = maximum + SLACK / scale;
        s.sum[h] *= rescale[h];
      }
    }
  }
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    float total = 0, rest = 0;
    #pragma unroll
    for (int j = 0; j < 8; j++) {
      float& x = w[4 * j + 2 * h];
      float& y = w[4 * j + 2 * h + 1];
      x = power2(x * scale - s.offset[h]);
      y = power2(y * scale - s.offset[h]);
      total += x;
      rest += y;
    }
    s.sum[h] += total + rest;
  }
  return grows;
}

DEVICE void rescaleRows(float (&out)[D / 2], const float (&rescale)[2]) {
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    #pragma unroll
    for (int d = 0; d < D / 8; d++) {
      out[4 * d + 2 * h] *= rescale[h];
      out[4 * d + 2 * h + 1] *= rescale[h];
    }
  }
}

// The rows of one warpgroup and what it has summed up of an item.
struct Rows {
  u64 queries;
  int end;           // of the keys that its rows see
  int unmasked;      // all rows see the keys before
  int seen[2];       // by this lane's rows
  bool live;         // whether there are any in this warp
  Sums sums;
};

// Requests the logits of the keys of a tile.
DEVICE void requestLogits(u32 base, int tile, const Rows& r, const u32 (&qr)[QREG + 1][4], float (&w)[32]) {
  u64 keys = descriptor(base + tile % STAGES * STAGE);
  #pragma unroll
  for (int k = 0; k < QREG; k++) multiplyKeysR(w, qr[k], keys + (k / 4 * HALF + k % 4 * 32) / 16, k > 0);
  #pragma unroll
  for (int k = QREG; k < D / 16; k++)
    multiplyKeys(w, r.queries + (k / 4 * ROWS * 128 + k % 4 * 32) / 16, keys + (k / 4 * HALF + k % 4 * 32) / 16, k > 0);
  commitProducts();
}

// Requests the sum of the values of a tile, weighted with p.
DEVICE void requestSum(u32 base, int tile, const u32 (&p)[16], float (&out)[D / 2]) {
  u64 values = transposed(base + tile % STAGES * STAGE + TILE);
  #pragma unroll
  for (int j = 0; j < KEYS / 16; j++)
    multiplyValues(out, p[4 * j], p[4 * j + 1], p[4 * j + 2], p[4 * j + 3], values + j * 16 * 128 / 16);
  commitProducts();
}

// Weights of keys `from` on from their logits; as softmax().
DEVICE bool weigh(float (&w)[32], int from, float scale, Rows& r, float (&rescale)[2]) {
  if (!r.live) return false;
  int last[2] = {min(r.end, r.seen[0]) - 1 - from, min(r.end, r.seen[1]) - 1 - from};
  return softmax(w, r.sums, rescale, last, from + KEYS > r.unmasked, scale);
}

DEVICE void packWeights(const float (&w)[32], bool live, u32 (&p)[16]) {
  #pragma unroll
  for (int j = 0; j < 16; j++) p[j] = live ? packBf16(w[2 * j], w[2 * j + 1]) : 0;
}

DEVICE void storeRows(
    const AttentionArgs& a, const Work& w, const float (&out)[D / 2], const float (&top)[2], const float (&sum)[2],
    int inTile0, const int (&token)[2]) {
  int lane = threadIdx.x % 32, q = lane % 4, group = a.heads / a.kvHeads;
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    float total = sum[h];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    int inTile = inTile0 + lane / 4 + 8 * h, row = w.firstRow + inTile;
    bool live = row < w.rows;
    if (w.partial < 0) {
      float factor = 1.0f / total;
      bf16* to = a.out + ((u64)(w.batchRow + token[h]) * a.heads + w.head * group + row - token[h] * group) * D;
      #pragma unroll
      for (int d = 0; d < D / 8; d += 4) {
        u32 v[4];
        #pragma unroll
        for (int i = 0; i < 4; i++)
          v[i] = packBf16(out[4 * (d + i) + 2 * h] * factor, out[4 * (d + i) + 2 * h + 1] * factor);
        transposeQuad(v);
        if (live) *(uint4*)(to + (d + q) * 8) = make_uint4(v[0], v[1], v[2], v[3]);
      }
    } else if (live) {
      u64 at = ((u64)w.partial * a.kvHeads + w.head) * ROWS + inTile;
      #pragma unroll
      for (int d = 0; d < D / 8; d++)
        *(float2*)(a.partialOut + at * D + d * 8 + 2 * q) = make_float2(out[4 * d + 2 * h], out[4 * d + 2 * h + 1]);
      if (q == 0) a.partialSums[at] = make_float2(top[h] * a.scale, total);
    }
  }
}

// What loaders wrote is seen by wgmma. A fence of theirs would wait for the copies that are under way.
DEVICE void seeCopies() { if (FENCE) asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// The warpgroups that multiply; tiles and items are counted from the first to the last layer.
DEVICE void multiplyItems(const AttentionArgs& a, u32 base, Barriers* barriers, int count, int& tile, int& uses) {
  // The compiler shall know that these are the same for a whole warp.
  int warp = __shfl_sync(~0u, threadIdx.x / 32, 0);
  int lane = threadIdx.x % 32, mine = warp / 4, inGroup = warp % 4;
  int group = a.heads / a.kvHeads;
  u32 inverse = 0xffffffffu / group + 1;
  if (PING && mine == 2) asm volatile("bar.arrive 9, 256;" ::: "memory");
  #pragma unroll 1
  for (int i = blockIdx.x; i < count; i += gridDim.x, uses++) {
    int slot = uses % SLOTS;
    barrierWait(&barriers->queryFull[slot], uses / SLOTS & 1);
    Work w = barriers->work[slot];
    int inTile0 = mine * 64 + inGroup * 16;
    bool groupLives = w.firstRow + mine * 64 < w.rows;
    int token[2];
    Rows r;
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      token[h] = quotient(min(w.firstRow + inTile0 + lane / 4 + 8 * h, w.rows - 1), group, inverse);
      r.seen[h] = w.context + token[h] + 1;
      r.sums.top[h] = r.sums.limit[h] = -INFINITE;
      r.sums.offset[h] = r.sums.sum[h] = 0;
    }
    r.live = w.firstRow + inTile0 < w.rows;
    r.end = min(w.end, w.context + quotient(min(w.rows - 1, w.firstRow + mine * 64 + 63), group, inverse) + 1);
    r.unmasked = min(r.end, w.context + quotient(w.firstRow + mine * 64, group, inverse));
    r.queries = descriptor(base + Q_AT + slot * Q_BYTES + mine * 64 * 128);
    u32 qr[QREG + 1][4];
    #pragma unroll
    for (int k = 0; k < QREG; k++) {
      u32 at = base + Q_AT + slot * Q_BYTES + chunkAt(ROWS, inTile0 + lane % 16, 2 * k + lane / 16);
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
          : "=r"(qr[k][0]), "=r"(qr[k][1]), "=r"(qr[k][2]), "=r"(qr[k][3]) : "r"(at) : "memory");
    }
    float out[D / 2];
    #pragma unroll
    for (int d = 0; d < D / 2; d++) out[d] = 0;
    auto turn = [&] { if (PING) asm volatile("bar.sync %0, 256;" :: "r"(9 + mine) : "memory"); };
    auto pass = [&] { if (PING) asm volatile("bar.arrive %0, 256;" :: "r"(mine == 2 ? 9 : 10 + mine) : "memory"); };
    auto arrived = [&](int t) {
      barrierWait(&barriers->full[t % STAGES], t / STAGES & 1);
      seeCopies();
    };
    auto free = [&](int t) {
      __syncwarp();
      if (lane == 0) barrierArrive(&barriers->empty[t % STAGES]);
    };
    // Tiles of which this warpgroup's rows see something.
    int all = tilesOf(w.begin, w.end), seen = groupLives ? min(all, (r.end - w.begin + KEYS - 1) / KEYS) : 0;
    if (seen > 0) {
      // The next tile's logits and this one's sum are computed while the next one's weights are.
      float logits[32], rescale[2];
      u32 p[16];
      arrived(tile);
      fenceProducts();
      requestLogits(base, tile, r, qr, logits);
      waitForProducts<0>();
      weigh(logits, w.begin, a.scale, r, rescale);
      packWeights(logits, r.live, p);
      #pragma unroll 1
      for (int t = 1; t < seen; t++, tile++) {
        arrived(tile + 1);
        turn();
        fenceProducts();
#if OVERLAP
        requestLogits(base, tile + 1, r, qr, logits);
        requestSum(base, tile, p, out);
        pass();
        waitForProducts<1>();
        bool grows = weigh(logits, w.begin + t * KEYS, a.scale, r, rescale);
        waitForProducts<0>();
        free(tile);
#else
        requestSum(base, tile, p, out);
        requestLogits(base, tile + 1, r, qr, logits);
        pass();
        waitForProducts<0>();
        free(tile);
        bool grows = weigh(logits, w.begin + t * KEYS, a.scale, r, rescale);
#endif
        if (grows) rescaleRows(out, rescale);
        packWeights(logits, r.live, p);
      }
      fenceProducts();
      requestSum(base, tile, p, out);
      waitForProducts<0>();
      free(tile++);
    }
    #pragma unroll 1
    for (int t = max(seen, 0); t < all; t++, tile++) {
      if (t > 0) {
        turn();
        pass();
      }
      arrived(tile);
      free(tile);
    }
    if (lane == 0) barrierArrive(&barriers->queryFree[slot]);
    if (r.live) storeRows(a, w, out, r.sums.top, r.sums.sum, inTile0, token);
  }
  if (PING && mine == 0) asm volatile("bar.sync 9, 256;" ::: "memory");
}
