"""One read of a tensor on a GPU, in Triton: magnitudes as integers in; their histogram, and of every row the largest
entry, the first that is not finite and the massive-activation test out. Equal to the plain path bit for bit.

Where to count is the whole design. Global atomics alone meet in the few hundred bins that activations lie in, one L2
operation per entry, and take longer than the layer that is observed may. A histogram of all 32 768 bins per program,
128 KiB, would leave room for one program on a multiprocessor; `tl.histogram` unrolls a ballot per bin. So each of a
few programs per multiprocessor walks over tiles of rows and counts `WINDOW` bins (64 octaves of bfloat16) in 32 KiB of
shared memory, through inline PTX. Zeros, the one value that a whole tensor may consist of, are summed in registers.
What is left (subnormal, enormous, not finite) is rare and goes to global memory one by one. In the end a program adds
each bin that occurred to the site's counts. Without `SHARED`, as on other makes and in the interpreter, all entries go
to global memory.

Medians are looked for only in tiles with a row that reaches the criterion's threshold, bit by bit, from the caches.
"""

import triton
import triton.language as tl


@triton.jit
def magnitudes(raw, SINGLE: tl.constexpr):
    """Raw bits as ordered keys and as bins of the histogram; float32 is rounded to bfloat16 for the latter."""
    if SINGLE:
        key = raw & 0x7FFFFFFF
        rounded = (key.to(tl.uint32) + 0x7FFF + ((key >> 16) & 1).to(tl.uint32)) >> 16
        bits = tl.where(key > 0x7F800000, 0x7FFF, rounded.to(tl.int32))
    else:
        key = raw.to(tl.int32) & 0x7FFF
        bits = key
    return key, bits


@triton.jit
def value(key, SINGLE: tl.constexpr, HALF: tl.constexpr):
    """The magnitude behind a key, float64."""
    if SINGLE:
        found = key.to(tl.float32, bitcast=True)
    elif HALF:
        found = key.to(tl.int16).to(tl.float16, bitcast=True)
    else:
        found = (key << 16).to(tl.float32, bitcast=True)
    return found.to(tl.float64)


@triton.jit
def finite_keys(
    x, row, kept, start, width, row_stride, column_stride, INFINITY: tl.constexpr, SINGLE: tl.constexpr, W: tl.constexpr
):
    """Keys of a tile [R, W], -1 for what is not finite, and which of them lie in the tensor."""
    column = start + tl.arange(0, W)
    inside = kept[:, None] & (column < width)[None, :]
    place = row.to(tl.int64)[:, None] * row_stride + column.to(tl.int64)[None, :] * column_stride
    key, _ = magnitudes(tl.load(x + place, mask=inside, other=0), SINGLE)
    return tl.where(key >= INFINITY, -1, key), inside


@triton.jit
def medians(
    x, row, kept, width, row_stride, column_stride, INFINITY: tl.constexpr, SINGLE: tl.constexpr, R: tl.constexpr,
    W: tl.constexpr,
):  # fmt: skip
    """The key in the lower middle of every row [R], what is not finite below all others: -1 where that is it."""
    middle = (width - 1) // 2
    median = tl.zeros([R], tl.int32)
    bits: tl.constexpr = 31 if SINGLE else 15
    for step in range(bits + 1):
        trial = tl.where(step == 0, 0, median | (1 << (bits - tl.maximum(step, 1))))
        below = tl.zeros([R], tl.int32)
        for start in range(0, width, W):
            key, inside = finite_keys(x, row, kept, start, width, row_stride, column_stride, INFINITY, SINGLE, W)
            below += tl.sum((inside & (key < trial[:, None])).to(tl.int32), 1)
        if step == 0:
            median = tl.where(below > middle, -1, 0)
        else:
            median = tl.where((median >= 0) & (below <= middle), trial, median)
    return median


@triton.jit
def massive(
    x, row, kept, width, row_stride, column_stride, LIMIT: tl.constexpr, INFINITY: tl.constexpr, SINGLE: tl.constexpr,
    HALF: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Of every row [R] its median, and how many entries lie above the criterion's threshold and 1000 medians."""
    median = medians(x, row, kept, width, row_stride, column_stride, INFINITY, SINGLE, R, W)
    bound = value(median, SINGLE, HALF) * 1000.0
    entries = tl.zeros([R], tl.int32)
    for start in range(0, width, W):
        key, inside = finite_keys(x, row, kept, start, width, row_stride, column_stride, INFINITY, SINGLE, W)
        above = inside & (key > LIMIT) & (value(key, SINGLE, HALF) > bound[:, None])
        entries += tl.sum(above.to(tl.int32), 1)
    return median, tl.where(median >= 0, entries, 0)


@triton.jit
def shared_bins(WINDOW: tl.constexpr):
    """The address of `WINDOW` counters in shared memory, all zero once every thread is here."""
    base = tl.inline_asm_elementwise(
        ".shared .align 16 .b32 maxact_bins[8192]; mov.u32 $0, maxact_bins;", "=r,r", [tl.program_id(0)],
        dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip
    tl.static_assert(WINDOW == 8192)
    tl.inline_asm_elementwise(
        "st.shared.u32 [$1], 0; mov.u32 $0, 0;", "=r,r", [base + 4 * tl.arange(0, WINDOW)],
        dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip
    tl.debug_barrier()
    return base


@triton.jit
def count_shared(addresses, wanted):
    """Add one to the counters at `addresses` where `wanted`."""
    tl.inline_asm_elementwise(
        "{ .reg .pred p; setp.ne.s32 p, $2, 0; @p red.shared.add.u32 [$1], 1; mov.u32 $0, 0; }", "=r,r,r",
        [addresses, wanted.to(tl.int32)], dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@triton.jit
def add_shared(base, counts, BASE: tl.constexpr, WINDOW: tl.constexpr):
    """Once every thread has counted, add what is in shared memory to `counts`, from bin `BASE` on."""
    tl.debug_barrier()
    seen = tl.inline_asm_elementwise(
        "ld.shared.u32 $0, [$1];", "=r,r", [base + 4 * tl.arange(0, WINDOW)], dtype=tl.int32, is_pure=False, pack=1
    )
    tl.atomic_add(counts + BASE + tl.arange(0, WINDOW), seen.to(tl.int64), mask=seen > 0, sem="relaxed")


@triton.jit
def read(
    x, real, counts, largest, broken, median, entries, rows, width, row_stride, column_stride,
    PADDED: tl.constexpr, MASSIVE: tl.constexpr, SINGLE: tl.constexpr, HALF: tl.constexpr, INFINITY: tl.constexpr,
    LIMIT: tl.constexpr, SHARED: tl.constexpr, BASE: tl.constexpr, WINDOW: tl.constexpr, W: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """`x` int16 or int32 [rows, width], of which the rows with `real` count -> added to `counts` int64 [32 768]; int32
    [rows] `largest` key (-1 for none), `broken` first column that is not finite (width for none), and `median` key and
    massive `entries` of rows whose largest is above `LIMIT` (-1 and 0 elsewhere).
    """
    R: tl.constexpr = TILE // W
    if SHARED:
        base = shared_bins(WINDOW)
    zeros = tl.zeros([R], tl.int32)
    for tile in range(tl.program_id(0), tl.cdiv(rows, R), tl.num_programs(0)):
        row = tile * R + tl.arange(0, R)
        exists = row < rows
        kept = exists
        if PADDED:
            kept = exists & (tl.load(real + row, mask=exists, other=0) != 0)
        top = tl.full([R], -1, tl.int32)
        first = tl.zeros([R], tl.int32) + width
        for start in range(0, width, W):
            column = start + tl.arange(0, W)
            inside = kept[:, None] & (column < width)[None, :]
            place = row.to(tl.int64)[:, None] * row_stride + column.to(tl.int64)[None, :] * column_stride
            key, bits = magnitudes(tl.load(x + place, mask=inside, other=0), SINGLE)
            finite = key < INFINITY
            top = tl.maximum(top, tl.max(tl.where(inside & finite, key, -1), 1))
            first = tl.minimum(first, tl.min(tl.where(inside & (finite == 0), column[None, :], width), 1))
            zeros += tl.sum((inside & (bits == 0)).to(tl.int32), 1)
            rest = inside & (bits != 0)
            if SHARED:
                within = rest & (bits >= BASE) & (bits < BASE + WINDOW)
                count_shared(base + 4 * (bits - BASE), within)
                rest = rest & (within == 0)
            if tl.max(tl.max(rest.to(tl.int32), 1), 0) > 0:
                tl.atomic_add(counts + bits, tl.full([R, W], 1, tl.int64), mask=rest, sem="relaxed")
        tl.store(largest + row, top, mask=exists)
        tl.store(broken + row, first, mask=exists)
        if MASSIVE:
            middle = tl.full([R], -1, tl.int32)
            above = tl.zeros([R], tl.int32)
            if tl.max(top, 0) > LIMIT:
                reaches = kept & (top > LIMIT)
                middle, above = massive(
                    x, row, reaches, width, row_stride, column_stride, LIMIT, INFINITY, SINGLE, HALF, R, W
                )
            tl.store(median + row, middle, mask=exists)
            tl.store(entries + row, above, mask=exists)
    if SHARED:
        add_shared(base, counts, BASE, WINDOW)
    tl.atomic_add(counts, tl.sum(zeros.to(tl.int64), 0), sem="relaxed")
