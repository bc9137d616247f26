// log sum_j exp(l_ij) over mixture components j, and its gradients, in tiles that stay in cache.
//
// Jointly over the dimensions, SIMD lanes run over components for the distances, 8 rows by 2 vectors at a time, and
// over dimensions for the gradients. A tile whose components have no share in its rows is left as soon as that is
// certain, often after 16 dimensions. Per dimension, lanes run over rows.
#include "../core/mixture_density.h"

#include "buffer.h"
#include "kernels.h"
#include "parallel.h"

namespace vaefast::VAEFAST_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRows = 8;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kRows = 4;
#else
constexpr int kVectorBytes = 16, kRows = 4;
#endif
constexpr int kRowChunk = 64;     // rows of a forward task, and of a block per dimension
constexpr int kBlockTiles = 16;   // tiles of components that stay in the L2 cache while rows pass
constexpr int kPanel = 512;       // rows of a backward task
constexpr int kChunkRows = 256;   // components of a backward task, at least
constexpr int kMaxChunks = 64;    // backward tasks side by side; each has a partial grad_z of a panel

template <class F>
struct Simd {
    typedef F Vec __attribute__((vector_size(kVectorBytes)));
    static constexpr int lanes = kVectorBytes / int(sizeof(F));
    static constexpr int tile = 2 * lanes;  // components of a tile
};
template <class F>
using Vec = typename Simd<F>::Vec;

template <class F>
inline __attribute__((always_inline)) Vec<F>& at(F* p) {
    return *reinterpret_cast<Vec<F>*>(p);
}
template <class F>
inline __attribute__((always_inline)) const Vec<F>& at(const F* p) {
    return *reinterpret_cast<const Vec<F>*>(p);
}

template <class F>
F lanes_sum(const Vec<F>& v) {
    alignas(64) F x[Simd<F>::lanes];
    at(x) = v;
    for (int width = Simd<F>::lanes / 2; width > 0; width /= 2)
        for (int l = 0; l < width; ++l) x[l] += x[l + width];
    return x[0];
}

template <class F>
F lanes_max(const Vec<F>& v) {
    F top = v[0];
    for (int l = 1; l < Simd<F>::lanes; ++l) top = v[l] > top ? v[l] : top;
    return top;
}

inline int64_t up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }
template <class F>
bool is_nan(F x) { return x != x; }
template <class F>
bool is_infinite(F x) { return x - x != F(0) && x == x; }

// Threads worth starting for so many multiply-adds.
int threads_for(double work, int threads) {
    const double useful = work / (1 << 18);
    return threads < useful ? threads : int(useful);
}

// ---- Joint: l_ij = c_j - 1/2 sum_d ((z_id - mu_jd) w_jd)^2 ----

// Components by tiles, within a tile by dimension: mu and w of all components of the tile side by side.
template <class F>
struct Packed {
    static constexpr int tile = Simd<F>::tile;
    int64_t k, tiles;
    Buffer<F> values, constant;
    Buffer<char> has_nan;

    template <class Args>
    explicit Packed(const Args& a)
        : k(a.k), tiles(up(a.components, tile) / tile), values(tiles * tile * 2 * k), constant(tiles * tile),
          has_nan(tiles) {
        const F *mu = static_cast<const F*>(a.mu), *inverse = static_cast<const F*>(a.inverse);
        const F* given = static_cast<const F*>(a.constant);
        parallel_tasks(tiles, threads_for(double(a.components) * double(k) * 4, a.threads), [&](int64_t t) {
            F* out = values + t * tile * 2 * k;
            F sum = 0;
            for (int64_t d = 0; d < k * 2 * tile; ++d) out[d] = 0;
            for (int j = 0; j < tile; ++j) {
                const int64_t component = t * tile + j;
                const bool real = component < a.components;
                constant[component] = real ? given[component] : F(-INFINITY);
                if (!real) continue;
                for (int64_t d = 0; d < k; ++d) {
                    const F m = mu[component * k + d], w = inverse[component * k + d];
                    out[d * 2 * tile + j] = m, out[d * 2 * tile + tile + j] = w;
                    sum += is_nan(m + w) ? m + w : F(0);
                }
                sum += is_nan(given[component]) ? given[component] : F(0);
            }
            has_nan[t] = is_nan(sum);
        });
    }
    const F* at_tile(int64_t t) const { return values + t * tile * 2 * k; }
    const F* constants(int64_t t) const { return constant + t * tile; }
};

// True where some c - half q of the tile is not below its row's limit; with half = 1/2 the first term is l.
template <class F>
inline __attribute__((always_inline)) bool any_above(const F* q, const F* c, const F* limit, F half) {
    constexpr int lanes = Simd<F>::lanes;
    Vec<F> best0 = at(c) - half * at(q) - limit[0], best1 = at(c + lanes) - half * at(q + lanes) - limit[0];
#pragma GCC unroll 8
    for (int r = 1; r < kRows; ++r) {
        const Vec<F> x0 = at(c) - half * at(q + 2 * r * lanes) - limit[r];
        const Vec<F> x1 = at(c + lanes) - half * at(q + (2 * r + 1) * lanes) - limit[r];
        best0 = x0 > best0 ? x0 : best0;
        best1 = x1 > best1 ? x1 : best1;
    }
    best0 = best1 > best0 ? best1 : best0;
    const auto below = best0 < F(0);
    uint64_t words[kVectorBytes / 8];
    std::memcpy(words, &below, sizeof(words));
    uint64_t all = ~uint64_t(0);
    for (uint64_t word : words) all &= word;
    return all != ~uint64_t(0);
}

// Adds the squared differences of dimensions d0 .. d1 - 1 between kRows rows of z and the components of a tile.
template <class F>
inline __attribute__((always_inline)) void add_squares(const F* z, int64_t stride, const F* tile, int64_t d0, int64_t d1,
                                                       F* q) {
    constexpr int lanes = Simd<F>::lanes;
    Vec<F> sum[kRows][2] = {};
    const F* p = tile + d0 * 4 * lanes;
    for (int64_t d = d0; d < d1; ++d, p += 4 * lanes) {
        const Vec<F> m0 = at(p), m1 = at(p + lanes), w0 = at(p + 2 * lanes), w1 = at(p + 3 * lanes);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
            const F x = z[r * stride + d];
            const Vec<F> u0 = (x - m0) * w0, u1 = (x - m1) * w1;
            sum[r][0] += u0 * u0;
            sum[r][1] += u1 * u1;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
        at(q + 2 * r * lanes) = sum[r][0] + (d0 ? at(q + 2 * r * lanes) : Vec<F>{});
        at(q + (2 * r + 1) * lanes) = sum[r][1] + (d0 ? at(q + (2 * r + 1) * lanes) : Vec<F>{});
    }
}

// q[kRows][tile]; false as soon as no l can reach its row's limit any more. That is looked at every 16 dimensions, or not
// again where the first 16 make it unlikely.
template <class F>
bool distances(const F* z, int64_t stride, const F* tile, const F* c, int64_t k, const F* limit, bool may_stop, F* q) {
    for (int64_t d0 = 0, d1; d0 < k; d0 = d1) {
        const int64_t step = d0 == 0 || (may_stop && d0 < 64) ? 16 : d0 < 64 ? 64 - d0 : 64;
        d1 = d0 + step < k ? d0 + step : k;
        add_squares(z, stride, tile, d0, d1, q);
        if (!may_stop) continue;
        if (!any_above(q, c, limit, F(0.5))) return false;
        if (d0 == 0 && any_above(q, c, limit, F(0.5) * F(k) / F(d1))) may_stop = false;
    }
    return true;
}

template <class F>
bool copy_rows(const F* from, int64_t rows, int64_t k, F* to, int64_t padded_rows, int64_t stride, bool* has_nan) {
    bool any = false;
    for (int64_t i = 0; i < padded_rows; ++i) {
        F sum = 0;
        for (int64_t d = 0; d < stride; ++d) {
            const F x = i < rows && d < k ? from[i * k + d] : F(0);
            to[i * stride + d] = x;
            sum += is_nan(x) ? x : F(0);
        }
        has_nan[i] = is_nan(sum);
        any |= has_nan[i];
    }
    return any;
}

template <class F>
void forward_joint(const MixtureDensityForward& a) {
    constexpr int tile = Simd<F>::tile, lanes = Simd<F>::lanes;
    const F *all_z = static_cast<const F*>(a.z), *mu = static_cast<const F*>(a.mu);
    const F *inverse = static_cast<const F*>(a.inverse), *constant = static_cast<const F*>(a.constant);
    const Packed<F> packed(a);
    const int64_t chunks = up(a.rows, kRowChunk) / kRowChunk, splits = a.splits < packed.tiles ? a.splits : packed.tiles;
    F* part = static_cast<F*>(splits > 1 ? a.scratch : nullptr);
    const double work = double(a.rows) * double(a.components) * double(a.k + 8);
    parallel_tasks(chunks * splits, threads_for(work, a.threads), [&](int64_t task) {
        const int64_t split = task % splits, row0 = task / splits * kRowChunk;
        const int rows = int(a.rows - row0 < kRowChunk ? a.rows - row0 : kRowChunk);
        Buffer<F> z(kRowChunk * a.k);
        alignas(64) F top[kRowChunk], sum[kRowChunk], limit[kRowChunk], q[kRows * tile];
        alignas(64) F terms[kRows][kBlockTiles * tile];
        bool has_nan[kRowChunk];
        copy_rows(all_z + row0 * a.k, rows, a.k, static_cast<F*>(z), kRowChunk, a.k, has_nan);
        for (int i = 0; i < kRowChunk; ++i) {
            top[i] = -INFINITY, sum[i] = 0, limit[i] = i < rows ? F(-INFINITY) : F(INFINITY);
            const int64_t own = row0 + i;
            if (i >= rows || a.exclude_self || own >= a.components) continue;
            // Any component bounds the sum from below; a posterior's own sample is near its mean.
            F near = 0;
            for (int64_t d = 0; d < a.k; ++d) {
                const F u = (z[i * a.k + d] - mu[own * a.k + d]) * inverse[own * a.k + d];
                near += u * u;
            }
            near = constant[own] - F(0.5) * near + ShareFloor<F>::log;
            limit[i] = near > limit[i] ? near : limit[i];
        }
        const int64_t end = packed.tiles * (split + 1) / splits;
        for (int64_t t0 = packed.tiles * split / splits; t0 < end; t0 += kBlockTiles) {
            const int64_t t1 = t0 + kBlockTiles < end ? t0 + kBlockTiles : end;
            for (int i = 0; i < rows; i += kRows) {
                bool row_nan = false;
                for (int r = 0; r < kRows; ++r) row_nan |= has_nan[i + r];
                int n = 0;
                for (int64_t t = t0; t < t1; ++t) {
                    const F* c = packed.constants(t);
                    if (!distances(z + i * a.k, a.k, packed.at_tile(t), c, a.k, limit + i,
                                   !row_nan && !packed.has_nan[t], q))
                        continue;
                    for (int r = 0; r < kRows; ++r) {
                        at(&terms[r][n]) = at(c) - F(0.5) * at(q + r * tile);
                        at(&terms[r][n + lanes]) = at(c + lanes) - F(0.5) * at(q + r * tile + lanes);
                        const int64_t self = row0 + i + r - t * tile;
                        if (a.exclude_self && self >= 0 && self < tile) terms[r][n + self] = -INFINITY;
                        // Padding, which is NaN for points at infinity.
                        for (int64_t j = a.components - t * tile; j < tile; ++j) terms[r][n + j] = -INFINITY;
                    }
                    n += tile;
                }
                if (n == 0) continue;
                for (int r = 0; r < kRows && i + r < rows; ++r) {
                    F* x = terms[r];
                    Vec<F> best = at(x);
                    for (int j = lanes; j < n; j += lanes) best = at(x + j) > best ? at(x + j) : best;
                    const F new_top = lanes_max<F>(best) > top[i + r] ? lanes_max<F>(best) : top[i + r];
                    const F base = new_top == F(-INFINITY) ? F(0) : new_top;
                    for (int j = 0; j < n; ++j) x[j] = share_of(x[j] - base);
                    Vec<F> sums = at(x);
                    for (int j = lanes; j < n; j += lanes) sums += at(x + j);
                    sum[i + r] = sum[i + r] * share_of(top[i + r] - base) + lanes_sum<F>(sums);
                    top[i + r] = new_top;
                    if (new_top + ShareFloor<F>::log > limit[i + r]) limit[i + r] = new_top + ShareFloor<F>::log;
                }
            }
        }
        for (int i = 0; i < rows; ++i) {
            if (!part) {
                static_cast<F*>(a.out)[row0 + i] = log_sum_of(top[i], sum[i]);
            } else {
                part[split * a.rows + row0 + i] = top[i];
                part[(splits + split) * a.rows + row0 + i] = sum[i];
            }
        }
    });
    if (part)
        for (int64_t i = 0; i < a.rows; ++i) {
            F top = -INFINITY, sum = 0;
            for (int64_t s = 0; s < splits; ++s) merge_sums(top, sum, part[s * a.rows + i], part[(splits + s) * a.rows + i]);
            static_cast<F*>(a.out)[i] = log_sum_of(top, sum);
        }
}

// Adds four components' contributions from the `count` rows listed in `active`; lanes run over dimensions.
template <class F>
void add_gradients(const F* z, F* grad_z, int64_t width, const int* active, int count, const F (*share)[4], const F* mu,
                   const F* precision, F* s1, F* s2) {
    constexpr int lanes = Simd<F>::lanes;
    for (int64_t d = 0; d < width; d += lanes) {
        Vec<F> m[4], p[4], sum1[4], sum2[4];
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
            m[c] = at(mu + c * width + d), p[c] = at(precision + c * width + d);
            sum1[c] = at(s1 + c * width + d), sum2[c] = at(s2 + c * width + d);
        }
        for (int n = 0; n < count; ++n) {
            const int64_t offset = active[n] * width + d;
            const Vec<F> x = at(z + offset);
            Vec<F> to_z = at(grad_z + offset);
#pragma GCC unroll 4
            for (int c = 0; c < 4; ++c) {
                const Vec<F> difference = x - m[c], weighted = share[n][c] * difference;
                sum1[c] += weighted;
                sum2[c] += weighted * difference;
                to_z += weighted * p[c];
            }
            at(grad_z + offset) = to_z;
        }
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) {
            at(s1 + c * width + d) = sum1[c];
            at(s2 + c * width + d) = sum2[c];
        }
    }
}

template <class F>
void backward_joint(const MixtureDensityBackward& a) {
    constexpr int tile = Simd<F>::tile, lanes = Simd<F>::lanes;
    const Packed<F> packed(a);
    const int64_t k = a.k, width = up(k, lanes), padded = packed.tiles * tile;
    int64_t chunk_tiles = up(kChunkRows, tile) / tile;
    if (chunk_tiles * kMaxChunks < packed.tiles) chunk_tiles = (packed.tiles + kMaxChunks - 1) / kMaxChunks;
    const int64_t chunks = (packed.tiles + chunk_tiles - 1) / chunk_tiles;
    const int64_t panel = up(a.rows, kRows) < kPanel ? up(a.rows, kRows) : kPanel;

    // Copies with rows padded to whole vectors. An infinite component has no share in anything; zeros in its place
    // keep 0 times infinity out of the sums.
    Buffer<F> mu(padded * width), precision(padded * width), s0(padded), s1(padded * width), s2(padded * width);
    const double copy_work = double(padded) * double(width) * 4;
    parallel_tasks(packed.tiles, threads_for(copy_work, a.threads), [&](int64_t t) {
        for (int64_t j = t * tile; j < (t + 1) * tile; ++j) {
            s0[j] = 0;
            for (int64_t d = 0; d < width; ++d) {
                const bool real = j < a.components && d < k;
                const F m = real ? static_cast<const F*>(a.mu)[j * k + d] : F(0);
                const F w = real ? static_cast<const F*>(a.inverse)[j * k + d] : F(0);
                mu[j * width + d] = is_infinite(m) ? F(0) : m;
                precision[j * width + d] = is_infinite(w) ? F(0) : w * w;
                s1[j * width + d] = s2[j * width + d] = 0;
            }
        }
    });

    Buffer<F> z(panel * width), part(chunks * panel * width), log_sum(panel), grad(panel), limit(panel);
    Buffer<bool> has_nan(panel);
    for (int64_t row0 = 0; row0 < a.rows; row0 += panel) {
        const int64_t rows = a.rows - row0 < panel ? a.rows - row0 : panel;
        copy_rows(static_cast<const F*>(a.z) + row0 * k, rows, k, static_cast<F*>(z), panel, width,
                  static_cast<bool*>(has_nan));
        for (int64_t i = 0; i < panel; ++i) {
            const F value = i < rows ? static_cast<const F*>(a.log_sum)[row0 + i] : F(-INFINITY);
            const bool nowhere = value == F(-INFINITY);  // infinitely far from everything: no gradient
            log_sum[i] = nowhere ? F(INFINITY) : value;
            grad[i] = nowhere ? F(0) : static_cast<const F*>(a.grad)[row0 + i];
            limit[i] = log_sum[i] + ShareFloor<F>::log;
            has_nan[i] = has_nan[i] || is_nan(value);
            if (nowhere)
                for (int64_t d = 0; d < width; ++d) z[i * width + d] = 0;
        }
        const double work = double(rows) * double(a.components) * double(k + 8);
        parallel_tasks(chunks, threads_for(work, a.threads), [&](int64_t chunk) {
            alignas(64) F q[kRows * tile], share[kRows * tile];
            alignas(64) bool used[tile];
            F* to_z = part + chunk * panel * width;
            for (int64_t i = 0; i < panel * width; ++i) to_z[i] = 0;
            const int64_t t1 = (chunk + 1) * chunk_tiles < packed.tiles ? (chunk + 1) * chunk_tiles : packed.tiles;
            for (int64_t t = chunk * chunk_tiles; t < t1; ++t) {
                const F* c = packed.constants(t);
                for (int64_t i = 0; i < rows; i += kRows) {
                    bool row_nan = false;
                    for (int r = 0; r < kRows; ++r) row_nan |= has_nan[i + r];
                    if (!distances(z + i * width, width, packed.at_tile(t), c, k, limit + i,
                                   !row_nan && !packed.has_nan[t], q))
                        continue;
                    for (int r = 0; r < kRows; ++r)
                        for (int j = 0; j < tile; ++j)
                            share[r * tile + j] =
                                grad[i + r] * share_of(c[j] - F(0.5) * q[r * tile + j] - log_sum[i + r]);
                    if (a.exclude_self)
                        for (int r = 0; r < kRows; ++r) {
                            const int64_t self = row0 + i + r - t * tile;
                            if (self >= 0 && self < tile) share[r * tile + self] = 0;
                        }
                    F* sum0 = s0 + t * tile;
                    for (int j = 0; j < tile; ++j) {
                        F sum = 0;
                        bool any = false;
                        for (int r = 0; r < kRows; ++r) {
                            sum += share[r * tile + j];
                            any |= share[r * tile + j] != F(0);
                        }
                        sum0[j] += sum;
                        used[j] = any;
                    }
                    for (int j = 0; j < tile; j += 4) {
                        if (!(used[j] | used[j + 1] | used[j + 2] | used[j + 3])) continue;
                        int active[kRows], count = 0;
                        F mine[kRows][4];
                        for (int r = 0; r < kRows; ++r) {
                            const F* s = share + r * tile + j;
                            active[count] = r;
                            for (int x = 0; x < 4; ++x) mine[count][x] = s[x];
                            count += (s[0] != F(0)) | (s[1] != F(0)) | (s[2] != F(0)) | (s[3] != F(0));
                        }
                        const int64_t first = (t * tile + j) * width;
                        add_gradients<F>(z + i * width, to_z + i * width, width, active, count, mine, mu + first,
                                         precision + first, s1 + first, s2 + first);
                    }
                }
            }
        });
        parallel_tasks(rows, threads_for(double(rows * chunks) * double(width), a.threads), [&](int64_t i) {
            F* out = static_cast<F*>(a.grad_z) + (row0 + i) * k;
            for (int64_t d = 0; d < k; ++d) out[d] = 0;
            for (int64_t chunk = 0; chunk < chunks; ++chunk)
                for (int64_t d = 0; d < k; ++d) out[d] -= part[(chunk * panel + i) * width + d];
        });
    }
    for (int64_t j = 0; j < a.components; ++j) {
        static_cast<F*>(a.s0)[j] = s0[j];
        for (int64_t d = 0; d < k; ++d) {
            static_cast<F*>(a.s1)[j * k + d] = s1[j * width + d];
            static_cast<F*>(a.s2)[j * k + d] = s2[j * width + d];
        }
    }
}

// ---- Per dimension: l_ijd = c_jd - 1/2 ((z_id - mu_jd) w_jd)^2; everything transposed ----

template <class F>
void forward_marginal(const MixtureDensityForward& a) {
    constexpr int group = 16;  // components between two looks at the maximum
    const int64_t chunks = up(a.rows, kRowChunk) / kRowChunk, splits = a.splits;
    F* part = static_cast<F*>(splits > 1 ? a.scratch : nullptr);
    const int64_t size = a.k * a.rows;
    parallel_tasks(a.k * chunks * splits, threads_for(double(size) * double(a.components) * 8, a.threads), [&](int64_t task) {
        const int64_t split = task % splits, row0 = task / splits % chunks * kRowChunk, d = task / splits / chunks;
        const int rows = int(a.rows - row0 < kRowChunk ? a.rows - row0 : kRowChunk);
        const F *mu = static_cast<const F*>(a.mu) + d * a.components, *w = static_cast<const F*>(a.inverse) + d * a.components;
        const F* c = static_cast<const F*>(a.constant) + d * a.components;
        alignas(64) F z[kRowChunk], top[kRowChunk], base[kRowChunk], sum[kRowChunk], some[kRowChunk], l[group][kRowChunk];
        for (int i = 0; i < kRowChunk; ++i) {
            z[i] = i < rows ? static_cast<const F*>(a.z)[d * a.rows + row0 + i] : F(0);
            top[i] = -INFINITY, sum[i] = 0;
        }
        const int64_t end = a.components * (split + 1) / splits;
        for (int64_t j0 = a.components * split / splits; j0 < end; j0 += group) {
            const int n = int(end - j0 < group ? end - j0 : group);
            for (int j = 0; j < n; ++j) {
                const F m = mu[j0 + j], inverse = w[j0 + j], constant = c[j0 + j];
                for (int i = 0; i < kRowChunk; ++i) {
                    const F u = (z[i] - m) * inverse;
                    l[j][i] = constant - F(0.5) * (u * u);
                }
                const int64_t self = j0 + j - row0;
                if (a.exclude_self && self >= 0 && self < rows) l[j][self] = -INFINITY;
            }
            for (int i = 0; i < kRowChunk; ++i) base[i] = top[i];
            for (int j = 0; j < n; ++j)
                for (int i = 0; i < kRowChunk; ++i) base[i] = l[j][i] > base[i] ? l[j][i] : base[i];
            for (int i = 0; i < kRowChunk; ++i) {
                const F before = top[i];
                top[i] = base[i];
                base[i] = base[i] == F(-INFINITY) ? F(0) : base[i];
                sum[i] *= share_of(before - base[i]);
                some[i] = 0;
            }
            for (int j = 0; j < n; ++j)
                for (int i = 0; i < kRowChunk; ++i) some[i] += share_of(l[j][i] - base[i]);
            for (int i = 0; i < kRowChunk; ++i) sum[i] += some[i];
        }
        for (int i = 0; i < rows; ++i) {
            const int64_t at = d * a.rows + row0 + i;
            if (!part) {
                static_cast<F*>(a.out)[at] = log_sum_of(top[i], sum[i]);
            } else {
                part[split * size + at] = top[i];
                part[(splits + split) * size + at] = sum[i];
            }
        }
    });
    if (part)
        for (int64_t i = 0; i < size; ++i) {
            F top = -INFINITY, sum = 0;
            for (int64_t s = 0; s < splits; ++s) merge_sums(top, sum, part[s * size + i], part[(splits + s) * size + i]);
            static_cast<F*>(a.out)[i] = log_sum_of(top, sum);
        }
}

template <class F>
void backward_marginal(const MixtureDensityBackward& a) {
    constexpr int lanes = Simd<F>::lanes, group = 64;  // components whose sums over rows stay in the L1 cache
    // Few dimensions: the components are shared out too, each part with a grad_z of its own.
    int64_t chunks = a.k < 16 ? 16 / a.k : 1;
    if (chunks > up(a.components, group) / group) chunks = up(a.components, group) / group;
    const int64_t rows = up(a.rows, kRowChunk), n = a.components;
    Buffer<F> part(chunks * a.k * rows), z(a.k * rows), log_sum(a.k * rows), grad(a.k * rows);
    const double work = double(a.k) * double(a.rows) * double(n) * 8;
    parallel_tasks(a.k, threads_for(double(a.k) * double(rows) * 4, a.threads), [&](int64_t d) {
        for (int64_t i = 0; i < rows; ++i) {
            const F value = i < a.rows ? static_cast<const F*>(a.log_sum)[d * a.rows + i] : F(-INFINITY);
            const bool nowhere = value == F(-INFINITY);
            log_sum[d * rows + i] = nowhere ? F(INFINITY) : value;
            z[d * rows + i] = nowhere ? F(0) : static_cast<const F*>(a.z)[d * a.rows + i];
            grad[d * rows + i] = nowhere ? F(0) : static_cast<const F*>(a.grad)[d * a.rows + i];
        }
    });
    parallel_tasks(a.k * chunks, threads_for(work, a.threads), [&](int64_t task) {
        const int64_t d = task / chunks, chunk = task % chunks;
        const F *mu = static_cast<const F*>(a.mu) + d * n, *w = static_cast<const F*>(a.inverse) + d * n;
        const F* c = static_cast<const F*>(a.constant) + d * n;
        F* to_z = part + task * rows;
        for (int64_t i = 0; i < rows; ++i) to_z[i] = 0;
        alignas(64) F sum0[group * lanes], sum1[group * lanes], sum2[group * lanes], share[kRowChunk], away[kRowChunk];
        const int64_t groups = up(n, group) / group, end = groups * (chunk + 1) / chunks * group;
        for (int64_t j0 = groups * chunk / chunks * group; j0 < end && j0 < n; j0 += group) {
            const int count = int(n - j0 < group ? n - j0 : group);
            for (int j = 0; j < count * lanes; ++j) sum0[j] = sum1[j] = sum2[j] = 0;
            for (int64_t i0 = 0; i0 < rows; i0 += kRowChunk) {
                const F *x = z + d * rows + i0, *total = log_sum + d * rows + i0, *g = grad + d * rows + i0;
                for (int j = 0; j < count; ++j) {
                    const F m = is_infinite(mu[j0 + j]) ? F(0) : mu[j0 + j], inverse = w[j0 + j];
                    const F constant = is_infinite(mu[j0 + j]) ? F(-INFINITY) : c[j0 + j], precision = inverse * inverse;
                    for (int i = 0; i < kRowChunk; ++i) {
                        away[i] = x[i] - m;
                        const F u = away[i] * inverse;
                        share[i] = g[i] * share_of((constant - F(0.5) * (u * u)) - total[i]);
                    }
                    const int64_t self = j0 + j - i0;
                    if (a.exclude_self && self >= 0 && self < kRowChunk) share[self] = 0;
                    Vec<F> part0 = {}, part1 = {}, part2 = {};
#pragma GCC unroll 4
                    for (int i = 0; i < kRowChunk; i += lanes) {
                        const Vec<F> weighted = at(share + i) * at(away + i);
                        part0 += at(share + i);
                        part1 += weighted;
                        part2 += weighted * at(away + i);
                        at(to_z + i0 + i) += weighted * precision;
                    }
                    at(sum0 + j * lanes) += part0;
                    at(sum1 + j * lanes) += part1;
                    at(sum2 + j * lanes) += part2;
                }
            }
            for (int j = 0; j < count; ++j) {
                static_cast<F*>(a.s0)[d * n + j0 + j] = lanes_sum<F>(at(sum0 + j * lanes));
                static_cast<F*>(a.s1)[d * n + j0 + j] = lanes_sum<F>(at(sum1 + j * lanes));
                static_cast<F*>(a.s2)[d * n + j0 + j] = lanes_sum<F>(at(sum2 + j * lanes));
            }
        }
    });
    for (int64_t d = 0; d < a.k; ++d)
        for (int64_t i = 0; i < a.rows; ++i) {
            F sum = 0;
            for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += part[(d * chunks + chunk) * rows + i];
            static_cast<F*>(a.grad_z)[d * a.rows + i] = -sum;
        }
}

}  // namespace

void mixture_density_forward(const MixtureDensityForward& a) {
    if (a.dtype == DType::float64) a.per_dimension ? forward_marginal<double>(a) : forward_joint<double>(a);
    else a.per_dimension ? forward_marginal<float>(a) : forward_joint<float>(a);
}

void mixture_density_backward(const MixtureDensityBackward& a) {
    if (a.dtype == DType::float64) a.per_dimension ? backward_marginal<double>(a) : backward_joint<double>(a);
    else a.per_dimension ? backward_marginal<float>(a) : backward_joint<float>(a);
}

}  // namespace vaefast::VAEFAST_ISA
