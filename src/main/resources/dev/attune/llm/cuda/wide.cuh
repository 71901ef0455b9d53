// Attention of the packed query rows of documents and last blocks: two or three warpgroups of 64 rows a block, which multiply by
// wgmma; another brings keys and values into a ring of tiles of 64 keys, running ahead over items, so that the start of one
// overlaps the end of another. Places in the key table are fetched before the tiles that lie there. What an item is, and what it
// leaves, is said in attention.cuh. Compiled for HEAD_SIZE, and for last blocks, whose items are few and long, or with DOCUMENTS for
// many short items.

#ifdef DOCUMENTS
constexpr bool MANY = true;
#else
constexpr bool MANY = false;
#endif
// Of documents two waste fewer rows, and have the registers to hold queries of 128 channels.
constexpr int D = HEAD_SIZE, GROUPS = MANY && D == 128 ? 2 : 3, ROWS = GROUPS * 64, LOADERS = 128, THREADS = GROUPS * 128 + LOADERS;
// Steps of 16 channels of queries that multiply from registers; the others do from shared memory, whose bandwidth they take.
constexpr int HELD = D == 64 || MANY ? D / 16 : 0;
// Tiles are in halves of 64 channels, rows of 128 bytes swizzled by 128 bytes. So are queries of last
// blocks; those of documents are rows that begin in different banks.
constexpr int HALF = KEYS * 128, TILE = KEYS * D * 2, STAGE = 2 * TILE, ROW_BYTES = D * 2 + (MANY ? 16 : 0), Q_BYTES = ROWS * ROW_BYTES;
constexpr int STAGES = D == 64 ? 8 : MANY ? 4 : 5, SLOTS = D == 64 ? 2 : 1;
// Items whose rows have not been stored, or whose queries are ahead.
constexpr int WORKS = 4;
// Tiles under way before the loaders wait for one, and places of tiles that are kept. Tiles of documents in 16 bits are not waited for:
// barriers see them arrive.
constexpr int LAG = D == 64 ? 3 : MANY ? 1 : 2, RING = 8;
constexpr int Q_AT = STAGES * STAGE, PLACES_AT = Q_AT + SLOTS * Q_BYTES, SCALES_AT = PLACES_AT + RING * KEYS * 16;
// Rows of documents that leave.
constexpr int ROWS_AT = SCALES_AT + RING * KEYS * 4, SHARED_BYTES = ROWS_AT + (MANY ? Q_BYTES : 0);

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

// The items of a block, one after the other; of each there is one for each KV head.
struct Cursor {
  int i;
  int item;
  int head;
  DEVICE void begin(const AttentionArgs& a, int first) {
    i = first;
    item = first / a.kvHeads;
    head = first - item * a.kvHeads;
  }
};

DEVICE void openItem(const AttentionArgs& a, const Cursor& at, Work& w) {
  AttentionItem item = a.items[at.item];
  Sequence s = a.sequences[item.sequence];
  int group = a.heads / a.kvHeads;
  w.head = at.head;
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
  Work work[WORKS];
};

template <bool Q8> DEVICE void initBarriers(Barriers& barriers) {
  constexpr int WARPS = LOADERS / 32;
  #pragma unroll
  for (int i = 0; i < STAGES; i++) {
    barrierInit(&barriers.full[i], MANY && !Q8 ? LOADERS : WARPS);
    barrierInit(&barriers.empty[i], GROUPS * 4);
  }
  #pragma unroll
  for (int i = 0; i < SLOTS; i++) {
    barrierInit(&barriers.queryFull[i], WARPS);
    barrierInit(&barriers.queryFree[i], GROUPS * 4);
  }
  // Copies of queries arrive at them.
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async;" ::: "memory");
}

DEVICE void syncLoaders() { asm volatile("bar.sync 1, 128;" ::: "memory"); }

DEVICE u32 swizzled(int row, int chunk) { return row * 128 + ((chunk ^ (row & 7)) << 4); }

// Offset of 16-byte chunk c of a row of D channels in a tile of `rows`.
DEVICE u32 chunkAt(int rows, int row, int c) { return (c / 8) * rows * 128 + swizzled(row, c % 8); }

// Offset of 16-byte chunk c of a row of queries.
DEVICE u32 queryAt(int row, int c) { return MANY ? row * ROW_BYTES + c * 16 : chunkAt(ROWS, row, c); }

DEVICE int quotient(int row, int group, u32 inverse) { return group == 1 ? row : __umulhi(row, inverse); }

// Where in the ring of tiles one is, and how often the ring has been gone round.
struct Turn {
  int stage = 0;
  u32 round = 0;
  DEVICE void advance() {
    if (++stage == STAGES) {
      stage = 0;
      round++;
    }
  }
};

// Takes the place of a Row in tiles of several segments, and in the first row of others in int8: where a head's keys are, of which
// the lowest bit says that they are int8, and how far behind the values are, in units of 16 bytes.
struct Place {
  u64 keys;
  u32 token;
  u32 toValues;
};

// The warpgroup that loads. Each warp brings 16 rows of every tile and waits for no other warp. Tiles and items are counted from
// the first to the last run. AWAITS: queries are there when none of their words is UNWRITTEN any more, otherwise when ready() has
// returned.
template <bool Q8, bool AWAITS> struct Loader {
  static constexpr int WARP_ROWS = KEYS / (LOADERS / 32);
  static constexpr int PER_ROW = D / 16;                 // threads of a row: two chunks in num16, one in int8
  static constexpr int AT_ONCE = 32 / PER_ROW, PASSES = WARP_ROWS / AT_ONCE;
  static constexpr int SCALERS = D / 8;                  // threads of a row that is scaled, eight numbers each
  static constexpr int SCALED = WARP_ROWS * SCALERS / 32;
  static constexpr bool WAITS = Q8 || !MANY;             // for tiles before it hands them over
  static constexpr int AHEAD = WAITS ? RING - LAG - 1 : RING - 1;  // places fetched ahead
  static_assert(!MANY || !AWAITS);

  struct Numbers {
    const u8* keys;
    u32 toValues;                                        // in units of 16 bytes
    const float* valueScales;
  };

  const AttentionArgs& a;
  u32 base;
  Barriers* barriers;
  u32 full, empty;
  int thread, lane, firstOfWarp, count, layer;
  int copied, inWarp, chunk, scaledAt;                   // this lane's place in a tile that it copies, and that it scales
  const num16* q;
  int tile = 0, finished = 0, placed = 0, uses = 0;
  u32 carries = 0;                                       // bit (tile & RING - 1): queries come with the tile
  u32 coded = 0;                                         // this warp has int8 of the tile,
  u32 single = 0;                                        // of one head and segment alone
  int carried = 0;                                       // queries handed over
  int ended = 0, endedBefore = 0;                        // tiles up to the end of the last item, and of the one before
  Cursor placing;
  int placedLeft;
  int stepItems, stepHeads;                              // from an item of this block to the next
  const Row* placedRow;
  bool morePlaces;
  bool plain, int8;                                      // the next tile: rows that follow each other, of a codec,
  int valid;                                             // so many of them,
  const u8* key;                                         // and this lane's first
  u32 toValue;                                           // and how far behind it its value is, in units of 16 bytes
  u64 scalesOf = 0;                                      // head whose keys' scales are:
  u32 scales[4];

  DEVICE Loader(const AttentionArgs& args, u8* at, Barriers* b, int items)
      : a(args), base(kept(sharedAddress(at))), barriers(b), full(kept(sharedAddress(b->full))),
        empty(full + STAGES * 8), thread(threadIdx.x % LOADERS), lane(threadIdx.x % 32),
        firstOfWarp(__shfl_sync(~0u, threadIdx.x % LOADERS / 32 * WARP_ROWS, 0)), count(items) {
    stepItems = gridDim.x / a.kvHeads;
    stepHeads = gridDim.x - stepItems * a.kvHeads;
    chunk = lane % PER_ROW;
    // Eight lanes that go together touch all banks.
    inWarp = D == 64 ? lane / 4 % 2 * 4 + lane / 8 : lane / 8;
    copied = swizzled(firstOfWarp + inWarp, chunk);
    int c = lane % SCALERS, row = scaledRow(0);
    scaledAt = swizzled(firstOfWarp + row, c / 2) + c % 2 * 8;
  }

  // The same number, in a register instead of being found anew.
  static DEVICE u32 kept(u32 x) { return __shfl_sync(~0u, x, 0); }

  DEVICE u8* shared(u32 at) { return (u8*)__cvta_shared_to_generic(base + at); }

  static DEVICE u32 stageOf(int tile) { return (u32)tile % STAGES; }
  static DEVICE u32 roundOf(int tile) { return (u32)tile / STAGES; }

  // Row of this lane in a pass of copying and of scaling.
  DEVICE int copiedRow(int pass) { return inWarp + pass * AT_ONCE; }
  DEVICE int scaledRow(int pass) {
    return D == 64 ? lane / 8 % 2 * 4 + lane / 16 + pass % 2 * 2 + pass / 2 * 8 : lane / 16 + pass * 2;
  }

  // Where the rows of later passes lie, from where that of the first lies; the same that swizzled() says.
  static DEVICE u32 copiedIn(u32 first, int pass) {
    return D == 64 ? first + pass * 1024 : (first ^ pass % 2 * 64) + pass * 512;
  }
  static DEVICE u32 scaledIn(u32 first, int pass) {
    return D == 64 ? (first ^ pass % 2 * 32) + pass % 2 * 256 + pass / 2 * 1024 : (first ^ pass % 4 * 32) + pass * 256;
  }

  DEVICE Cursor after(Cursor at) {
    at.i += gridDim.x;
    at.item += stepItems;
    at.head += stepHeads;
    if (at.head >= a.kvHeads) {
      at.head -= a.kvHeads;
      at.item++;
    }
    return at;
  }

  DEVICE void openPlaces() {
    morePlaces = placing.i < count;
    if (!morePlaces) return;
    Work w;
    openItem(a, placing, w);
    placedLeft = w.end - w.begin;
    placedRow = a.table + w.firstKey + w.begin + firstOfWarp + lane % WARP_ROWS;
  }

  DEVICE Row* places(int which) { return (Row*)shared(PLACES_AT + ((which & RING - 1) * KEYS + firstOfWarp) * 16); }

  // Requests the places of the next tile; beyond the end they are zero.
  DEVICE void fetchPlaces() {
    if (!morePlaces) return;
    bool there = firstOfWarp + lane < placedLeft;
    u32 to = base + PLACES_AT + ((placed & RING - 1) * KEYS + firstOfWarp + lane) * 16;
    if (lane < WARP_ROWS) copyAsync(to, placedRow, there);
    placed++;
    placedLeft -= KEYS;
    placedRow += KEYS;
    if (placedLeft <= 0) {
      placing = after(placing);
      openPlaces();
    }
  }

  // Looks at the places of a tile, which have arrived.
  DEVICE void prepare(int which, int head) {
    if (which >= placed) return;
    __syncwarp();
    Row* rows = places(which);
    Row first = read(rows), mine = read(rows + lane % WARP_ROWS);
    bool there = mine.segment != 0;
    plain = __all_sync(~0u, !there || mine.segment == first.segment && mine.token == first.token + lane % WARP_ROWS);
    valid = __popc(__ballot_sync(~0u, there)) / 2;
    int8 = Q8 && isInt8(first.segment);
    u32 bit = 1u << (which & RING - 1);
    if (Q8) {
      coded &= ~bit;
      single &= ~bit;
    }
    if (plain) {
      Numbers numbers = numbersOf(first, head);
      toValue = numbers.toValues;
      key = numbers.keys + (first.token + inWarp) * (u64)(int8 ? D : 2 * D) + chunk * 16;
      if (!int8) return;
      coded |= bit;
      single |= bit;
      if (lane == 0) rows[0].segment = (u64)numbers.keys | 1;
      if (lane < WARP_ROWS) fetchScale(which, numbers.valueScales + first.token + lane, there);
      if (((u64)numbers.keys | 1) != scalesOf && lane < D / 32) prefetch(numbers.keys - 4 * D + lane * 128);
    } else {
      bool isCoded = Q8 && isInt8(mine.segment);
      if (there && lane < WARP_ROWS) {
        Numbers n = numbersOf(mine, head);
        if (isCoded) fetchScale(which, n.valueScales + mine.token, true);
        *((Place*)rows + lane) = {(u64)n.keys | (u64)isCoded, mine.token, n.toValues};
      }
      if (Q8 && __any_sync(~0u, isCoded)) coded |= bit;
    }
    __syncwarp();
  }

  DEVICE void fetchScale(int which, const float* from, bool there) {
    u32 to = base + SCALES_AT + ((which & RING - 1) * KEYS + firstOfWarp + lane) * 4;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" :: "r"(to), "l"(from), "r"(there ? 4 : 0) : "memory");
  }

  static DEVICE Row read(const Row* row) {
    uint4 v = *(const uint4*)row;
    return {(u64)v.y << 32 | v.x, v.z, v.w};
  }

  // Where the numbers of a head are.
  DEVICE Numbers numbersOf(const Row& row, int head) {
    if (Q8 && isInt8(row.segment)) {
      Int8Blocks b = int8Blocks(row.segment, row.capacity, layer, head, a.kvHeads, D);
      const u8* keys = b.keys + 4 * D;
      return {keys, (u32)((b.values + 4 * ((row.capacity + 3) & ~3u) - keys) / 16), (const float*)b.values};
    }
    u64 ofHead = row.capacity * (u64)(2 * D);
    return {(const u8*)row.segment + (u32)(2 * layer * a.kvHeads + head) * ofHead, (u32)(a.kvHeads * ofHead / 16), 0};
  }

  // Where a row of queries is, in units of heads.
  DEVICE u32 query(const Work& w, int row, int group, u32 inverse) {
    int safe = min(row, w.rows - 1), token = quotient(safe, group, inverse);
    return (w.batchRow + token) * a.heads + w.head * group + safe - token * group;
  }

  // Requests queries, or waits for them. Rows that are not there are zero, or the last.
  DEVICE void fetchQueries(const Work& w, int slot) {
    int group = a.heads / a.kvHeads;
    u32 inverse = 0xffffffffu / group + 1, to = Q_AT + slot * Q_BYTES;
    if constexpr (MANY) {
      constexpr int ROWS_HERE = ROWS / (LOADERS / 32);
      u64* barrier = &barriers->queryFull[slot];
      if (lane == 0) barrierExpect(barrier, ROWS_HERE * D * 2);
      __syncwarp();
      int first = thread / 32 * ROWS_HERE;
      #pragma unroll
      for (int r = 0; r < ROWS_HERE; r += 32)
        if (r + 32 <= ROWS_HERE || r + lane < ROWS_HERE)
          copyBulk(base + to + (first + r + lane) * ROW_BYTES,
              q + query(w, w.firstRow + first + r + lane, group, inverse) * (u64)D, D * 2, barrier);
      return;
    }
    constexpr int CHUNKS = D / 8, STEP = LOADERS / CHUNKS, TOGETHER = 6;
    int c = thread % CHUNKS;
    #pragma unroll 4
    for (int r = thread / CHUNKS; r < ROWS && !AWAITS; r += STEP)
      copyAsync(base + to + queryAt(r, c), q + query(w, w.firstRow + r, group, inverse) * (u64)D + c * 8, w.firstRow + r < w.rows);
    #pragma unroll 1
    for (int first = thread / CHUNKS; first < ROWS && AWAITS; first += TOGETHER * STEP) {
      uint4 v[TOGETHER];
      bool all;
      do {
        all = true;
        #pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
          int row = w.firstRow + first + i * STEP;
          v[i] = row < w.rows ? loadShared16(q + query(w, row, group, inverse) * (u64)D + c * 8) : make_uint4(0, 0, 0, 0);
          all &= written(v[i]);
        }
      } while (!all);
      #pragma unroll
      for (int i = 0; i < TOGETHER; i++) *(uint4*)shared(to + queryAt(first + i * STEP, c)) = v[i];
    }
  }

  // Both halves of a row's part in num16, or all of it in int8.
  static DEVICE void copyRow(u32 to, const u8* key, u32 toValue, bool int8, bool valid) {
    const u8* value = key + toValue * 16ull;
    copyAsync(to, key, valid);
    copyAsync(to + TILE, value, valid);
    if (int8) return;
    u32 second = D == 64 ? to ^ 64 : to + HALF;
    copyAsync(second, key + PER_ROW * 16, valid);
    copyAsync(second + TILE, value + PER_ROW * 16, valid);
  }

  DEVICE void fetchTile() {
    u32 to = base + stageOf(tile) * STAGE, copied = opaque(this->copied);
    if (plain && int8) {
      #pragma unroll
      for (int pass = 0; pass < PASSES; pass++)
        copyRow(to + copiedIn(copied, pass), key + pass * AT_ONCE * D, toValue, true, copiedRow(pass) < valid);
    } else if (plain) {
      #pragma unroll
      for (int pass = 0; pass < PASSES; pass++)
        copyRow(to + copiedIn(copied, pass), key + pass * AT_ONCE * 2 * D, toValue, false, copiedRow(pass) < valid);
    } else {
      #pragma unroll 1
      for (int pass = 0; pass < PASSES; pass++) {
        Row row = read(places(tile) + copiedRow(pass));
        Place p = {row.segment, row.token, row.capacity};
        bool isCoded = Q8 && p.keys & 1;
        const u8* from = (const u8*)(p.keys & ~1ull) + p.token * (u64)(isCoded ? D : 2 * D) + chunk * 16;
        copyRow(to + copiedIn(copied, pass), from, p.toValues, isCoded, p.keys != 0);
      }
    }
  }

  // Eight numbers times their scales.
  static DEVICE uint4 scaled(uint2 numbers, const u32 (&by)[4]) {
    u32 first = numbers.x ^ 0x80808080u, second = numbers.y ^ 0x80808080u;
    return make_uint4(scaledPair<0>(first, by[0]), scaledPair<1>(first, by[1]), scaledPair<0>(second, by[2]),
        scaledPair<1>(second, by[3]));
  }

  // The scales of this lane's eight channels of a head's keys.
  DEVICE void needScales(u64 keys) {
    if (keys == scalesOf) return;
    scalesOf = keys;
    const float4* from = (const float4*)(keys - 1 - 4 * D) + lane % SCALERS * 2;
    float4 x = __ldg(from), y = __ldg(from + 1);
    scales[0] = packScales(x.x, x.y);
    scales[1] = packScales(x.z, x.w);
    scales[2] = packScales(y.x, y.y);
    scales[3] = packScales(y.z, y.w);
  }

  // Scales the int8 numbers of this warp's rows of a tile that has arrived; they lie at the start of the rows that they become.
  // Numbers of several rows are read before the first is scaled, since what takes time is waiting, and those of a row all before any
  // is written.
  DEVICE void scaleTile(int which) {
    u32 bit = 1u << (which & RING - 1);
    if (!(coded & bit)) return;
    u8* k = shared(stageOf(which) * STAGE);
    const float* valueScales = (const float*)shared(SCALES_AT + ((which & RING - 1) * KEYS + firstOfWarp) * 4);
    int c = lane % SCALERS;
    // Not kept in registers, of which there are too few, from tile to tile.
    u32 read = opaque(scaledAt), row = read / 128, written = row * 128 + ((c % 8 ^ row % 8) << 4) + c / 8 * HALF;
    if (single & bit) {
      needScales(places(which)[0].segment);
      const float* scaleAt = valueScales + scaledRow(0);
      constexpr int TOGETHER = 4;  // rows, after which places are alike
      #pragma unroll 1
      for (int done = 0; done < SCALED; done += TOGETHER, k += 1024, scaleAt += 8) {
        uint2 key[TOGETHER], value[TOGETHER];
        float scale[TOGETHER];
        #pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
          u32 at = scaledIn(read, i);
          key[i] = *(const uint2*)(k + at);
          value[i] = *(const uint2*)(k + TILE + at);
          scale[i] = scaleAt[scaledRow(i) - scaledRow(0)];
        }
        __syncwarp();
        #pragma unroll
        for (int i = 0; i < TOGETHER; i++) {
          u32 at = scaledIn(written, i), same = packScales(scale[i], scale[i]), four[4] = {same, same, same, same};
          *(uint4*)(k + at) = scaled(key[i], scales);
          *(uint4*)(k + TILE + at) = scaled(value[i], four);
        }
      }
      return;
    }
    #pragma unroll 1
    for (int pass = 0; pass < SCALED; pass++) {
      u64 keys = places(which)[scaledRow(pass)].segment;
      u32 from = scaledIn(read, pass), to = scaledIn(written, pass);
      uint2 key = *(const uint2*)(k + from), value = *(const uint2*)(k + TILE + from);
      __syncwarp();
      if (!(keys & 1)) continue;
      needScales(keys);
      float scale = valueScales[scaledRow(pass)];
      u32 same = packScales(scale, scale), four[4] = {same, same, same, same};
      *(uint4*)(k + to) = scaled(key, scales);
      *(uint4*)(k + TILE + to) = scaled(value, four);
    }
  }

  DEVICE void signal(u32 barrier) {
    __syncwarp();
    if (lane == 0) barrierArrive(barrier);
  }

  // The barrier sees this thread arrive when what it has requested has.
  static DEVICE void arriveWithCopies(u32 barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" :: "r"(barrier) : "memory");
  }

  // The copies of a tile have arrived: hands it to those who multiply.
  DEVICE void finish() {
    if (Q8) {
      __syncwarp();
      scaleTile(finished);
    }
    signal(full + stageOf(finished) * 8);
    u32 bit = 1u << (finished & RING - 1);
    if (carries & bit) {
      carries &= ~bit;
      signal(sharedAddress(&barriers->queryFull[carried++ % SLOTS]));
    }
    finished++;
  }

  // Requests the queries of an item.
  DEVICE void requestQueries(const Cursor& item) {
    int slot = uses % SLOTS;
    if (uses >= SLOTS) {
      // Who still needs the slot gets its tiles first.
      if (WAITS && finished < (SLOTS == 1 && !MANY ? ended : endedBefore)) {
        waitForCopies();
        while (finished < tile) finish();
      }
      barrierWait(&barriers->queryFree[slot], (uses / SLOTS - 1) & 1);
    }
    uses++;
    Work w;
    openItem(a, item, w);
    if (thread == 0) barriers->work[(uses - 1) % WORKS] = w;
    fetchQueries(w, slot);
  }

  // Hands over the tiles before `end`, all requested, and the queries when they are there.
  template <typename Ready> DEVICE void handOver(const Cursor& item, int end, Ready ready) {
    waitForCopies();
    while (finished < end) finish();
    ready(false);
    requestQueries(item);
    commitCopies();
    waitForCopies();
    signal(sharedAddress(&barriers->queryFull[carried++ % SLOTS]));
  }

  // All items in one layer. Tiles of the first item's context are requested before ready(), which waits for what the kernel or
  // phase before writes: queries and, when it is asked for them, the sequence's own keys and values.
  template <typename Ready> DEVICE void run(int ofLayer, const num16* queries, bool isReady, Ready ready) {
    bool kept = isReady;
    layer = ofLayer;
    q = queries;
    Cursor item;
    item.begin(a, blockIdx.x);
    placing = item;
    // Nobody needs the places that are fetched over.
    __syncwarp();
    openPlaces();
    #pragma unroll 1
    for (int i = 0; i < AHEAD; i++) fetchPlaces();
    commitCopies();
    waitForCopies();
    prepare(tile, item.head);
    if (isReady) ready(true);
    #pragma unroll 1
    while (item.i < count) {
      int begin, end, context;
      {
        Work w;
        openItem(a, item, w);
        begin = w.begin;
        end = w.end;
        context = w.context;
      }
      int tiles = tilesOf(begin, end);
      bool late = false;
      #pragma unroll 1
      for (int t = 0; t < tiles; t++, tile++) {
        barrierWait(empty + stageOf(tile) * 8, ~roundOf(tile) & 1);
        if (!kept && min(begin + (t + 1) * KEYS, end) > context) {
          if (late) handOver(item, tile, ready);
          ready(true);
          isReady = kept = true;
          late = false;
        }
        if (t == 0) {
          late = !isReady;
          if (!late) {
            requestQueries(item);
            if (!MANY) carries |= 1u << (tile & RING - 1);
          }
        }
        fetchTile();
        if (!WAITS) arriveWithCopies(full + stageOf(tile) * 8);
        // All of this warp have done with the places that are fetched over.
        __syncwarp();
        fetchPlaces();
        // There may be no room for another tile before one is used.
        if (late && (t == tiles - 1 || t == STAGES - 1)) {
          commitCopies();
          handOver(item, tile + 1, ready);
          isReady = true;
          late = false;
        } else {
          commitCopies();
          asm volatile("cp.async.wait_group %0;" :: "n"(WAITS ? LAG : AHEAD - 1) : "memory");
          if (WAITS && tile - finished >= LAG) finish();
        }
        if (t == tiles - 1) item = after(item);
        prepare(tile + 1, item.head);
      }
      endedBefore = ended;
      ended = tile;
    }
    waitForCopies();
    while (WAITS && finished < tile) finish();
    // Nobody may leave out what ready() stands for.
    if (!isReady) ready(false);
  }
};

// Descriptor of a tile whose rows of 128 bytes are the summed dimension; halves of 64 channels lie HALF apart.
DEVICE u64 transposed(u32 address) {
  return (u64)(address >> 4 & 0x3fff) | (u64)(HALF >> 4) << 16 | 64ull << 32 | 1ull << 62;
}

// The descriptor of what lies some bytes behind, with one addition of 32 bits.
DEVICE u64 behind(u64 descriptor, int bytes) {
  u64 moved;
  u32 low = (u32)descriptor + bytes / 16, high = descriptor >> 32;
  asm("mov.b64 %0, {%1, %2};" : "=l"(moved) : "r"(low), "r"(high));
  return moved;
}

#define F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F8(d, i) F4(d, i), F4(d, (i) + 4)

// d = (accumulate ? d : 0) + 64 rows of a times 64 rows of b, both of 16 channels.
DEVICE void multiplyKeys(float (&d)[32], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." NUMBERS " {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, p, 1, 1, 0, 0;\n}\n"
      : F8(d, 0), F8(d, 8), F8(d, 16), F8(d, 24) : "l"(a), "l"(b), "r"(accumulate));
}

// d += 64 rows of a, 16 keys of each, times the values of those keys.
#if HEAD_SIZE == 64
DEVICE void multiplyValues(float (&d)[32], u32 a0, u32 a1, u32 a2, u32 a3, u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." NUMBERS " {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
      : F8(d, 0), F8(d, 8), F8(d, 16), F8(d, 24) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));
}
#else
DEVICE void multiplyValues(float (&d)[64], u32 a0, u32 a1, u32 a2, u32 a3, u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." NUMBERS " {"
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
DEVICE void multiplyKeys(float (&d)[32], const u32 (&a)[4], u64 b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." NUMBERS " {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}\n"
      : F8(d, 0), F8(d, 8), F8(d, 16), F8(d, 24) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

DEVICE void fenceProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEVICE void waitForProducts() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }

// What a lane's two rows have summed up of an item: weights are 2^((logit - top) * scale). Rows that have seen nothing are at NOTHING.
struct Sums {
  float top[2];
  float sum[2];
};
constexpr float NOTHING = -1e30f;

// By how much 2^ weights may exceed 1 before what was summed up is rescaled.
constexpr float SLACK = 10;

// w[4 j + 2 h + e]: row h * 8 + lane / 4 of the warp, key 8 j + 2 (lane % 4) + e. Makes weights of logits. Whether what was summed up
// before is to be multiplied by `rescale`, for the whole warp.
DEVICE bool softmax(float (&w)[32], Sums& s, float (&rescale)[2], float scale, float slack) {
  float most[2];
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    float other = fmaxf(w[4 + 2 * h], w[5 + 2 * h]);
    most[h] = fmaxf(w[2 * h], w[2 * h + 1]);
    #pragma unroll
    for (int j = 2; j < 8; j += 2) {
      most[h] = fmaxf(most[h], fmaxf(w[4 * j + 2 * h], w[4 * j + 2 * h + 1]));
      other = fmaxf(other, fmaxf(w[4 * j + 4 + 2 * h], w[4 * j + 5 + 2 * h]));
    }
    most[h] = fmaxf(most[h], other);
  }
  // Seldom after the first tiles.
  bool grows = __any_sync(~0u, most[0] > s.top[0] + slack || most[1] > s.top[1] + slack);
  if (__builtin_expect(grows, 0)) {
    #pragma unroll
    for (int h = 0; h < 2; h++) {
      float maximum = most[h];
      maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, 1));
      maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, 2));
      rescale[h] = 1;
      if (maximum > s.top[h] + slack) {
        rescale[h] = power2((s.top[h] - maximum) * scale);
        s.top[h] = maximum;
        s.sum[h] *= rescale[h];
      }
    }
  }
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    float total = 0, rest = 0, offset = s.top[h] * scale;
    #pragma unroll
    for (int j = 0; j < 8; j++) {
      float& x = w[4 * j + 2 * h];
      float& y = w[4 * j + 2 * h + 1];
      x = power2(x * scale - offset);
      y = power2(y * scale - offset);
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
  bool live;         // whether there are any in this warp
  Sums sums;
};

// Requests the logits of the keys of a tile.
DEVICE void requestLogits(u32 stage, const Rows& r, const u32 (&held)[HELD + 1][4], float (&w)[32]) {
  u64 keys = descriptor(stage);
  #pragma unroll
  for (int k = 0; k < D / 16; k++) {
    u64 b = behind(keys, k / 4 * HALF + k % 4 * 32);
    if (k < HELD) multiplyKeys(w, held[k], b, k > 0);
    else multiplyKeys(w, behind(r.queries, k / 4 * ROWS * 128 + k % 4 * 32), b, k > 0);
  }
  commitProducts();
}

// Requests the sum of the values of a tile, weighted with p.
DEVICE void requestSum(u32 stage, const u32 (&p)[16], float (&out)[D / 2]) {
  u64 values = transposed(stage + TILE);
  #pragma unroll
  for (int j = 0; j < KEYS / 16; j++)
    multiplyValues(out, p[4 * j], p[4 * j + 1], p[4 * j + 2], p[4 * j + 3], behind(values, j * 16 * 128));
  commitProducts();
}

// Token of a row of the tile, of the last row for those beyond.
DEVICE int tokenOf(const Work& w, int inTile, int group, u32 inverse) {
  return quotient(min(w.firstRow + inTile, w.rows - 1), group, inverse);
}

// Of rows that are not there nothing is stored.
DEVICE void packWeights(const float (&w)[32], u32 (&p)[16]) {
  #pragma unroll
  for (int j = 0; j < 16; j++) p[j] = pack16(w[2 * j], w[2 * j + 1]);
}

DEVICE void storeRows(
    const AttentionArgs& a, const Work& w, const float (&out)[D / 2], const Sums& sums,
    int inTile0, int group, u32 inverse) {
  int lane = threadIdx.x % 32, q = lane % 4;
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    float total = sums.sum[h];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    int inTile = inTile0 + lane / 4 + 8 * h, row = w.firstRow + inTile;
    bool live = row < w.rows;
    int token = tokenOf(w, inTile, group, inverse);
    if (w.partial < 0) {
      float factor = 1.0f / total;
      num16* to = a.out + ((u64)(w.batchRow + token) * a.heads + w.head * group + row - token * group) * D;
      #pragma unroll
      for (int d = 0; d < D / 8; d += 4) {
        u32 v[4];
        #pragma unroll
        for (int i = 0; i < 4; i++)
          v[i] = pack16(out[4 * (d + i) + 2 * h] * factor, out[4 * (d + i) + 2 * h + 1] * factor);
        transposeQuad(v);
        if (live) *(uint4*)(to + (d + q) * 8) = make_uint4(v[0], v[1], v[2], v[3]);
      }
    } else if (live) {
      u64 at = ((u64)w.partial * a.kvHeads + w.head) * ROWS + inTile;
      #pragma unroll
      for (int d = 0; d < D / 8; d++)
        *(float2*)(a.partialOut + at * D + d * 8 + 2 * q) = make_float2(out[4 * d + 2 * h], out[4 * d + 2 * h + 1]);
      if (q == 0) a.partialSums[at] = make_float2(sums.top[h] * a.scale, total);
    }
  }
}

// What loaders wrote is seen by wgmma. A fence of theirs would wait for the copies that are under way.
DEVICE void seeCopies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// The same as storeRows() for rows that nobody shares, by way of shared memory, this warp's from `rows` on, from where they are
// copied while it goes on.
DEVICE void sendRows(
    const AttentionArgs& a, const Work& w, u32 rows, const float (&out)[D / 2], const Sums& sums,
    int inTile0, int group, u32 inverse) {
  int lane = threadIdx.x % 32;
  float factor[2];
  #pragma unroll
  for (int h = 0; h < 2; h++) {
    float total = sums.sum[h];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    factor[h] = 1.0f / total;
  }
  // Those before have left.
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
  __syncwarp();
  u32 at = rows + queryAt(lane % 16, lane / 16);
  #pragma unroll
  for (int d = 0; d < D / 8; d += 2) {
    u32 v[4];
    #pragma unroll
    for (int i = 0; i < 4; i++)
      v[i] = pack16(out[4 * (d + i / 2) + i % 2 * 2] * factor[i % 2], out[4 * (d + i / 2) + i % 2 * 2 + 1] * factor[i % 2]);
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};"
        :: "r"(at + d * 16), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
  }
  seeCopies();
  __syncwarp();
  int row = w.firstRow + inTile0 + lane;
  if (lane < 16 && row < w.rows) {
    int token = quotient(row, group, inverse);
    num16* to = a.out + ((u64)(w.batchRow + token) * a.heads + w.head * group + row - token * group) * D;
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;"
        :: "l"(to), "r"(rows + queryAt(lane, 0)), "r"(D * 2) : "memory");
  }
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// The warpgroups that multiply: items from `item` on before `count`; tiles and items are counted from the first to the last layer.
DEVICE void multiplyItems(
    const AttentionArgs& a, u32 base, Barriers* barriers, int& item, int count, Turn& turn, int& uses) {
  // The compiler shall know that these are the same for a whole warp.
  int warp = __shfl_sync(~0u, threadIdx.x / 32, 0);
  int lane = threadIdx.x % 32, mine = warp / 4, inGroup = warp % 4;
  int group = a.heads / a.kvHeads;
  u32 inverse = 0xffffffffu / group + 1;
  float slack = SLACK / a.scale;
  u32 full = sharedAddress(barriers->full), empty = sharedAddress(barriers->empty);
  int inTile0 = mine * 64 + inGroup * 16;
  #pragma unroll 1
  for (; item < count; item += gridDim.x, uses++) {
    int slot = uses % SLOTS;
    barrierWait(&barriers->queryFull[slot], uses / SLOTS & 1);
    const Work& w = barriers->work[uses % WORKS];
    int first = w.firstRow + mine * 64, rows = w.rows, context = w.context, begin = w.begin, end = w.end;
    Rows r;
    r.sums = {{NOTHING, NOTHING}, {0, 0}};
    r.live = first + inGroup * 16 < rows;
    r.end = min(end, context + quotient(min(rows - 1, first + 63), group, inverse) + 1);
    r.unmasked = min(r.end, context + quotient(first, group, inverse));
    // Tiles of which this warpgroup's rows see something.
    int all = tilesOf(begin, end), seen = first < rows ? min(all, (r.end - begin + KEYS - 1) / KEYS) : 0;
    u32 queries = base + Q_AT + slot * Q_BYTES;
    r.queries = descriptor(queries + mine * 64 * 128);
    u32 q[HELD + 1][4];
    #pragma unroll
    for (int k = 0; k < HELD; k++) {
      u32 from = queries + queryAt(inTile0 + lane % 16, 2 * k + lane / 16);
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
          : "=r"(q[k][0]), "=r"(q[k][1]), "=r"(q[k][2]), "=r"(q[k][3]) : "r"(from) : "memory");
    }
    float out[D / 2];
    #pragma unroll
    for (int d = 0; d < D / 2; d++) out[d] = 0;
    auto arrived = [&](const Turn& t) {
      barrierWait(full + t.stage * 8, t.round & 1);
      seeCopies();
    };
    auto free = [&](u32 barrier) {
      __syncwarp();
      if (lane == 0) barrierArrive(barrier);
    };
    auto at = [&](const Turn& t) { return base + t.stage * STAGE; };
    if (MANY) free(sharedAddress(&barriers->queryFree[slot]));
    // Makes weights of the logits of keys `from` on; as softmax().
    auto weigh = [&](float (&logits)[32], int from, float (&rescale)[2]) {
      if (!r.live) return false;
      if (__builtin_expect(from + KEYS > r.unmasked, 0)) {
        int last[2];
        #pragma unroll
        for (int h = 0; h < 2; h++)
          last[h] = min(r.end - 1, w.context + tokenOf(w, inTile0 + lane / 4 + 8 * h, group, inverse)) - from - lane % 4 * 2;
        #pragma unroll
        for (int i = 0; i < 32; i++)
          if (i / 4 * 8 + i % 2 > last[i / 2 % 2]) logits[i] = -INFINITE;
      }
      return softmax(logits, r.sums, rescale, a.scale, slack);
    };
    if (seen > 0) {
      // The next tile's logits and this one's sum are computed while the next one's weights are.
      float logits[32], rescale[2];
      u32 p[16];
      Turn next = turn;
      arrived(turn);
      fenceProducts();
      requestLogits(at(turn), r, q, logits);
      waitForProducts<0>();
      weigh(logits, begin, rescale);
      packWeights(logits, p);
      #pragma unroll 1
      for (int t = 1; t < seen; t++) {
        next.advance();
        arrived(next);
        fenceProducts();
        requestLogits(at(next), r, q, logits);
        requestSum(at(turn), p, out);
        waitForProducts<1>();
        bool grows = weigh(logits, begin + t * KEYS, rescale);
        waitForProducts<0>();
        free(empty + turn.stage * 8);
        turn = next;
        if (__builtin_expect(grows, 0)) rescaleRows(out, rescale);
        packWeights(logits, p);
      }
      fenceProducts();
      requestSum(at(turn), p, out);
      waitForProducts<0>();
      free(empty + turn.stage * 8);
      turn.advance();
    }
    #pragma unroll 1
    for (int t = max(seen, 0); t < all; t++) {
      arrived(turn);
      free(empty + turn.stage * 8);
      turn.advance();
    }
    if (!MANY) free(sharedAddress(&barriers->queryFree[slot]));
    if (!r.live) continue;
    Work done = barriers->work[uses % WORKS];
    if (MANY && done.partial < 0) sendRows(a, done, base + ROWS_AT + inTile0 * ROW_BYTES, out, r.sums, inTile0, group, inverse);
    else storeRows(a, done, out, r.sums, inTile0, group, inverse);
  }
  // Shared memory is this block's until it has been read.
  if (MANY) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}
