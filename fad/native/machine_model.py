"""The machine that fad decides for, in numbers: sizes of caches, prices of threads, of calls and of code.

They were measured on x86-64 servers with AVX2 and AVX-512, by the programs of ``benchmarks/``, for the kinds that these stand for.
Decisions need proportions only, and most are right within a factor of two; what differs more from machine to machine is asked
of the CPU (`fad.native.cpu`). Operations are floating point operations, or what takes as long; elements are those of an array.
"""

# -- memory ---------------------------------------------------------------------------------------------------------------

CACHE_LINE = 64  # bytes, on which the arena begins
FIRST_CACHE_SETS = 64  # lines of one way of the first cache: rows a page apart all begin in one set
FIRST_CACHE_WAYS = 6  # lines of one set that rows of a tile may take; most have 8
SECOND_CACHE = 1 << 18  # bytes that stay in cache while something else is read beside them
SMALL_BUFFER = 1 << 16  # bytes up to which buffers of the arena lie side by side, so that they share pages
CACHED_ROW = 1 << 16  # elements of a row that stays in cache from one nest to the next
LOOK_AHEAD = 100  # operations of later iterations that a core begins while it waits for earlier ones

# -- threads --------------------------------------------------------------------------------------------------------------

WAKE_WORK = 100_000  # operations of loops from which threads are worth waking: about 20 µs on one core
WAKE_TILE_WORK = 1_500_000  # operations of a kernel with a register tile, which does ten or twenty at a time
PIECE_WORK = 300_000  # operations of loops that a thread takes at once
PIECES_PER_THREAD = 4  # pieces of a numba kernel, so that all threads end together
PACKING_PIECES_PER_THREAD = 2  # the same where each piece packs panels of its own
PIECE_ELEMENTS = 4096  # elements of the input in a piece of a pool or depthwise convolution, at least
SCATTER_ELEMENTS = 1 << 14  # elements to which one thread is enough for a scatter

# -- products in numba's kernels --------------------------------------------------------------------------------------------

PANEL_DEPTH = 256  # steps of the depth of a panel that stays in the first cache
PANEL_POSITIONS = 128  # the same of a gradient by weights, whose other operand is packed as well
PANELS_OF_PRODUCT = 4  # panels that are packed together: memory is read in longer runs, and all stay in the second cache
PANELS_OF_CONVOLUTION = 8  # the same where windows are read again for each of them
PIECE_ROWS = 240  # rows of a piece, at most
FEW_ROWS_OF_PRODUCT = 24  # rows of a piece where all have few
FEW_ROWS_OF_CONVOLUTION = 48  # the same where each piece looks up the places of its taps
SMALL_PRODUCTS = 100_000  # multiply-adds of a piece of several matrices
FEW_CHANNELS = 8  # channels up to which windows are copied element by element, not run by run
WEIGHT_ROWS = 192  # rows of a piece of a gradient by weights, at most
WEIGHT_PIECES = 16  # pieces of a gradient by weights, for which positions are cut into chunks
WEIGHT_POSITIONS = 256  # positions of a chunk, at least
BLAS_SIDE = 8  # sides of matrices below which NumPy's product of stacks is as fast
BLAS_PRODUCT = 1 << 19  # multiply-adds of one product of a stack from which BLAS is as fast
STACK_WORK = 1 << 24  # multiply-adds of a stack from which it is worth all threads
SPECIALISED_PRICE = 2e10  # operations in the time that a specialised kernel takes to compile: 0.2 s at 1e11 a second on two cores
FILLED_COLUMNS = 16  # columns to which fewer are rounded up: they take a tile as long
POSITION_WORK = 4000  # operations in the time that it takes to find a position's window
WINDOW_ELEMENT_WORK = 10.0  # operations that take as long as one element of a window of a pool

# -- kernels of one shape ------------------------------------------------------------------------------------------------------

KERNEL_PIECES = 64  # pieces of work, so that threads end together
KERNEL_PIECE_WORK = 200_000  # operations of a piece, at least
KERNEL_GRAIN = 600_000  # operations that a thread takes at once
DEPTHWISE_PIECES = 32  # pieces of a depthwise convolution
CACHED_WEIGHTS = 3 << 18  # bytes of weights that stay in the second cache
THIRD_CACHE = 6 << 20  # bytes of filters up to which all cores find them in the cache that they share
TRANSPOSED_ROWS = 128  # rows from which transposed weights are copied into panels, not read along the depth
PACKED_ROWS = 256  # rows from which a copy of other weights pays
PACKED_ROWS_OF_ONE_VECTOR = 32  # the same where a row of the weights is one vector
COPIED_ROWS = 16  # rows from which a copy of few columns pays, to read them along the depth
REGISTER_DEPTH = 1024  # depth of a product of a transposed matrix up to which sums stay in registers from its beginning to its end
THIN_COLUMNS = 32  # columns below which they do not
STREAMED_ROWS = 4  # rows of a product that reads each weight for few multiplications
BLOCKED_ROWS = 256  # rows of a product of few rows with many weights, which are then read in blocks
BLOCKED_BYTES = 1 << 21  # bytes of these weights
SHORTEST_RUN = 256  # positions along the last axis that are not cut
TILES_PER_SHARE = 8  # tiles of a share of a gradient by weights, at least
WINOGRAD_TILES = 24  # tiles of images that are transformed at a time; twice as many where filters do not fit THIRD_CACHE
WINOGRAD_SUMMED_TILES = 96  # the same for a gradient by weights
WINOGRAD_SCRATCH = 1 << 24  # bytes that pieces of work have for themselves, all together, if threads are few

# -- loops of a program ---------------------------------------------------------------------------------------------------------

HEAVY = 12  # operations from which an elementary function is worth a call of its own
SHORT_CODE_WORK = 4096  # operations of a nest for which short code counts more than fast code
CALLED_WORK = 100_000  # operations of a nest up to which heavy functions are called, not written out
CALLED_FUNCTIONS = 16  # heavy functions in one body from which they are called
CALLED_BYTES = 24 * 64  # bytes of vectors through heavy functions in one body, from which these are called
PACKING_REUSE = 16  # times that elements must be read for a copy in another order to pay
PARTIAL_SUM = 4096  # elements that one partial result of a reduction takes
STRIP = 2048  # elements of a one-dimensional nest that are one piece of work
ROW_BLOCK = 1 << 16  # bytes of a block of rows that are reduced together
SHORT_ROW = 48  # elements of a row below which vectors do better across rows
FEW_ROWS = 8  # rows that are too few to share
REDUCED_ROWS = 32  # rows whose reductions follow while they are in cache

# -- the interpreter: seconds = CALL + nodes DISPATCH + passes (flops / FLOPS + bytes / BANDWIDTH) -------------------------------
# All passes of one mode run as one batch, so dispatch is paid once. Only the proportions decide which mode is cheaper;
# `compare_modes` measures how fast another machine is.

CALL = 60e-6  # seconds for opening and closing it all
DISPATCH = 7.5e-6  # seconds for one primitive: traced, or differentiated and run
FLOPS = 1e10  # operations per second
BANDWIDTH = 1.6e9  # bytes of results per second
