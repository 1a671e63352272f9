// Cuts tiles of an image into patches and normalises them, which is the first step of a vision tower.

#include "portable.cuh"

// patches: [N * side * side, columns] bf16, row-major over the patches of a tile; a row is ordered by channel, y, x,
// and padded with zeros after 3 * patch * patch numbers. tiles: [N, size, size, 3] bytes; pixels at the right and
// bottom that do not fill a patch are left out. levels: [3][256] bf16, the value of each byte of a channel. Grid:
// (side * side, N), block: (256).
KERNEL(cut_patches, (bf16 *patches, const unsigned char *tiles, const bf16 *levels, unsigned size, unsigned side,
                     unsigned patch, unsigned columns)) {
    const unsigned row = blockIdx.x / side, column = blockIdx.x % side, area = patch * patch;
    const unsigned char *tile = tiles + size_t(blockIdx.y) * size * size * 3;
    bf16 *to = patches + (size_t(blockIdx.y) * side * side + blockIdx.x) * columns;
    for (unsigned index = threadIdx.x; index < columns; index += blockDim.x) {
        if (index >= 3 * area) {
            to[index] = 0;
            continue;
        }
        const unsigned channel = index / area, y = index % area / patch, x = index % patch;
        const unsigned char byte = tile[(size_t(row * patch + y) * size + column * patch + x) * 3 + channel];
        to[index] = levels[channel * 256 + byte];
    }
}
