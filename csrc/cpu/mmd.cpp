// Sums of a kernel over all pairs of rows of two samples, with the gradient to the rows in the same pass.
//
// Rows are cut into panels of 64, and a pair of panels is one tile: its dot products (a matrix product), the kernel on
// them in place, and the two matrix products that bring the tile's share of the gradient to either panel. Only one of
// the tiles (I, J) and (J, I) is visited. Threads take pairs of blocks of panels, in rounds like those of a tournament:
// in a round every block has one opponent, so no two threads write to the same rows, and the rounds fix the order
// in which a row's shares are added, whatever the number of threads.
#include "kernels.h"

#include <utility>
#include <vector>

#include "buffer.h"
#include "element.h"
#include "parallel.h"
#include "vector.h"

namespace vaefast::VAEFAST_ISA {
namespace {

constexpr int kPanel = 64;
constexpr int64_t kDepth = 256;              // of the dot products at a time: a panel's part stays near the core
constexpr int64_t kMemory = 16 << 20;        // working memory that several small problems may share

int64_t panels_of(int64_t rows) { return (rows + kPanel - 1) / kPanel; }

// Centring.

template <class T>
void center(const MmdCenter& a) {
    using C = typename Element<T>::Compute;
    const int64_t rows = a.n + a.m, chunks = panels_of(rows), k = a.k;
    const auto row_of = [&](int64_t p, int64_t i) {
        return i < a.n ? static_cast<const T*>(a.x) + p * a.x_problem + i * a.x_row
                       : static_cast<const T*>(a.y) + p * a.y_problem + (i - a.n) * a.y_row;
    };
    // Sums by chunk of rows, so that the order of additions is fixed.
    Buffer<double> part(chunks * k);
    for (int64_t p = 0; p < a.problems; ++p) {
        double* mean = a.mean + p * k;
        parallel_tasks(chunks, a.threads, [&](int64_t c) {
            double* sum = part.data() + c * k;
            for (int64_t j = 0; j < k; ++j) sum[j] = 0;
            for (int64_t i = c * kPanel; i < (c + 1) * kPanel && i < rows; ++i) {
                const T* row = row_of(p, i);
                for (int64_t j = 0; j < k; ++j) sum[j] += double(Element<T>::load(row[j]));
            }
        });
        for (int64_t j = 0; j < k; ++j) mean[j] = 0;
        for (int64_t c = 0; c < chunks; ++c)
            for (int64_t j = 0; j < k; ++j) mean[j] += part.data()[c * k + j];
        for (int64_t j = 0; j < k; ++j) mean[j] /= double(rows);
        const double scale = a.scale[p];
        parallel_tasks(chunks, a.threads, [&](int64_t c) {
            for (int64_t i = c * kPanel; i < (c + 1) * kPanel && i < rows; ++i) {
                const T* row = row_of(p, i);
                C* z = static_cast<C*>(a.z) + (p * rows + i) * a.z_stride;
                for (int64_t j = 0; j < k; ++j) z[j] = C((double(Element<T>::load(row[j])) - mean[j]) * scale);
                for (int64_t j = k; j < a.z_stride; ++j) z[j] = C(0);
                constexpr int lanes = 8;
                double e[lanes] = {};
                int64_t j = 0;
                for (; j + lanes <= k; j += lanes)
                    for (int l = 0; l < lanes; ++l)
                        e[l] += double(z[j + l]) * (a.dot ? mean[j + l] * scale : double(z[j + l]));
                for (; j < k; ++j) e[0] += double(z[j]) * (a.dot ? mean[j] * scale : double(z[j]));
                static_cast<C*>(a.e)[p * rows + i] =
                    C(((e[0] + e[1]) + (e[2] + e[3])) + ((e[4] + e[5]) + (e[6] + e[7])));
            }
        });
    }
}

// Pairs.

struct Panel {
    int64_t row;  // first row
    int rows;     // how many there are
    bool of_y;
};

// One problem at work: its rows in panels [panel][column][row], and the sums that its tiles add to.
template <class F>
struct Problem {
    const F *z, *e, *w;
    const double* factors;
    F* panels;
    double *out, *rows;  // by panel and row; out with the stride of z
    double* values;      // by pair of blocks
    MmdCoefs<F> coefs;
};

struct Block {  // panels from `first` up to `end`
    int first, end;
};

// The vectors hold types of this file alone: std::vector<int> would be one function for all instruction sets.
struct Plan {
    std::vector<Panel> panels;
    std::vector<Block> blocks;

    Plan(int64_t n, int64_t m) {
        const int64_t all = panels_of(n) + panels_of(m);
        const int64_t group = all >= 64 ? 4 : all >= 32 ? 2 : 1;  // panels to a block
        for (int s = 0; s < 2; ++s) {
            const int64_t rows = s ? m : n, base = s ? n : 0;
            for (int64_t i = 0; i < rows; i += kPanel) {
                const int index = int(panels.size());
                if (i / kPanel % group == 0) blocks.push_back({index, index});
                blocks.back().end = index + 1;
                panels.push_back({base + i, int(rows - i < kPanel ? rows - i : kPanel), s == 1});
            }
        }
    }
};

template <class F>
void pack(const MmdPairs& a, const Plan& plan, const Problem<F>& problem, int64_t index) {
    const Panel panel = plan.panels[size_t(index)];
    F* to = problem.panels + index * kPanel * a.k;
    for (int64_t c0 = 0; c0 < a.k; c0 += 16) {
        const int64_t c1 = c0 + 16 < a.k ? c0 + 16 : a.k;
        for (int i = 0; i < kPanel; ++i) {
            const F* row = problem.z + (panel.row + i) * a.z_stride;
            for (int64_t c = c0; c < c1; ++c) to[c * kPanel + i] = i < panel.rows ? row[c] : F(0);
        }
    }
}

int rounded_up(int n, int to) { return (n + to - 1) / to * to; }

// d[64][64] = dot products of the rows of two panels.
template <class F>
void dot_products(const F* pi, int rows_i, const F* pj, int rows_j, int64_t k, F* d) {
    constexpr int width = kVectorColumns * Vector<F>::lanes;
    static_assert(kPanel % width == 0 && kPanel % kVectorRows == 0, "tiles must fit panels");
    for (int64_t c0 = 0; c0 < k || c0 == 0; c0 += kDepth) {
        const int64_t depth = k - c0 < kDepth ? k - c0 : kDepth;
        for (int j = 0; j < rows_j; j += width)
            for (int i = 0; i < rows_i; i += kVectorRows) {
                typename Vector<F>::type sum[kVectorRows][kVectorColumns];
#pragma GCC unroll 8
                for (int r = 0; r < kVectorRows; ++r)
#pragma GCC unroll 8
                    for (int l = 0; l < kVectorColumns; ++l)
                        sum[r][l] = c0 ? load_vector(d + (i + r) * kPanel + j + l * Vector<F>::lanes)
                                       : typename Vector<F>::type{};
                multiply<F, kVectorColumns>(pi + c0 * kPanel + i, 1, kPanel, pj + c0 * kPanel + j, kPanel, depth, sum);
#pragma GCC unroll 8
                for (int r = 0; r < kVectorRows; ++r)
#pragma GCC unroll 8
                    for (int l = 0; l < kVectorColumns; ++l)
                        store_vector(d + (i + r) * kPanel + j + l * Vector<F>::lanes, sum[r][l]);
            }
    }
}

// Vectors that are worked on together: their chains of operations hide one another's latency.
constexpr int kTogether = 4;

// f and g of kTogether vectors of pairs.
template <MmdKernel K, class F, bool Grad>
VAEFAST_HD void kernel_of(const F* u, const F* dot, bool rational, const MmdCoefs<F>& c,
                          typename Vector<F>::type (&f)[kTogether], typename Vector<F>::type (&g)[kTogether]) {
    using V = typename Vector<F>::type;
    constexpr int lanes = Vector<F>::lanes, n = kTogether * lanes;
    if (K == MmdKernel::imq && rational) {
        V x[kTogether], top[kTogether], bottom[kTogether], slope[kTogether];
        const int s = c.count;
#pragma GCC unroll 8
        for (int v = 0; v < kTogether; ++v) {
            x[v] = load_vector(u + v * lanes);
            top[v] = V{} + c.top[s - 1];
            bottom[v] = x[v] + c.bottom[s - 1];
            slope[v] = V{} + c.slope[2 * s - 2];
        }
        for (int i = s - 2; i >= 0; --i)
#pragma GCC unroll 8
            for (int v = 0; v < kTogether; ++v) {
                top[v] = top[v] * x[v] + c.top[i];
                bottom[v] = bottom[v] * x[v] + c.bottom[i];
                if (Grad) {
                    slope[v] = slope[v] * x[v] + c.slope[2 * i + 1];
                    slope[v] = slope[v] * x[v] + c.slope[2 * i];
                }
            }
#pragma GCC unroll 8
        for (int v = 0; v < kTogether; ++v) {
            const V inverse = reciprocal<F>(bottom[v]);
            f[v] = top[v] * inverse;
            if (Grad) g[v] = -(slope[v] * inverse) * inverse;
        }
        return;
    }
    alignas(64) F fs[n], gs[n];
    if constexpr (K == MmdKernel::energy) {
        for (int j = 0; j < n; ++j) energy_of(u[j], c, fs[j], gs[j]);
    } else if constexpr (K == MmdKernel::polynomial) {
        // As polynomial_of, term by term, so that the compiler vectorises over the pairs.
        for (int j = 0; j < n; ++j) fs[j] = gs[j] = F(0);
        for (int i = c.count - 1; i >= 1; --i) {
            const F a = c.a[i], b = F(i + 1) * a;
            for (int j = 0; j < n; ++j) {
                fs[j] = fs[j] * u[j] + a;
                if (Grad) gs[j] = gs[j] * u[j] + b;
            }
        }
        for (int j = 0; j < n; ++j) {
            fs[j] = fs[j] * u[j] * u[j] + c.a[0] * dot[j];
            gs[j] = gs[j] * u[j];
        }
    } else {
        // Scale by scale, so that the compiler vectorises over the pairs.
        alignas(64) F d[n], half[n];
        for (int j = 0; j < n; ++j) {
            fs[j] = gs[j] = F(0);
            if (K == MmdKernel::laplacian) {
                d[j] = sqrt_of(u[j]);
                half[j] = u[j] > F(0) ? F(-0.5) / d[j] : F(0);
            }
        }
        for (int s = 0; s < c.count; ++s) {
            const F a = c.a[s];
            for (int j = 0; j < n; ++j) {
                if constexpr (K == MmdKernel::imq) {
                    const F inverse = F(1) / (a + u[j]);
                    fs[j] += a * inverse;
                    if (Grad) gs[j] -= a * inverse * inverse;
                } else {
                    const F e = exp_of((K == MmdKernel::rbf ? u[j] : d[j]) * -a);
                    fs[j] += e;
                    if (Grad) gs[j] += e * (K == MmdKernel::rbf ? -a : half[j] * a);
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < kTogether; ++v) {
        f[v] = load_vector(fs + v * lanes);
        if (Grad) g[v] = load_vector(gs + v * lanes);
    }
}

// The squared distances of one row again, from differences, where the dot product has lost their digits.
template <class F>
void near_row(const F* pi, int i, const F* pj, int64_t k, F ei, const F* ej, F* u) {
    F again[kPanel];
    for (int j = 0; j < kPanel; ++j) again[j] = F(0);
    for (int64_t c = 0; c < k; ++c) {
        const F x = pi[c * kPanel + i];
        for (int j = 0; j < kPanel; ++j) {
            const F difference = x - pj[c * kPanel + j];
            again[j] += difference * difference;
        }
    }
    for (int j = 0; j < kPanel; ++j) u[j] = u[j] < F(kNear) * (ei + ej[j]) ? again[j] : u[j];
}

// u = |z_i - z_j|^2 of the pairs of a tile from its dot products, in place. True where some rows are near each other;
// those pairs are right all the same. `largest` is the greatest u.
template <class F>
bool distances(const F* pi, int rows_i, const F* pj, int64_t k, const F* ei, const F* ej, F* d, F& largest) {
    using V = typename Vector<F>::type;
    constexpr int lanes = Vector<F>::lanes, vectors = kPanel / lanes;
    V low = {}, high = {};
    for (int i = 0; i < rows_i; ++i) {
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) {
            F* at = d + i * kPanel + v * lanes;
            const V both = ei[i] + load_vector(ej + v * lanes);
            const V u = both - F(2) * load_vector(at);
            const V margin = u - F(kNear) * both;
            low = margin < low ? margin : low;
            high = u > high ? u : high;
            store_vector(at, u);
        }
    }
    alignas(64) F lows[lanes], highs[lanes];
    store_vector(lows, low);
    store_vector(highs, high);
    F nearest = F(0);
    largest = F(0);
    for (int l = 0; l < lanes; ++l) {
        nearest = lows[l] < nearest ? lows[l] : nearest;
        largest = highs[l] > largest ? highs[l] : largest;
    }
    if (!(nearest < F(0))) return false;
    for (int i = 0; i < rows_i; ++i) {
        F* u = d + i * kPanel;
        bool near = false;
        for (int j = 0; j < kPanel; ++j) near |= u[j] < F(kNear) * (ei[i] + ej[j]);
        if (near) near_row(pi, i, pj, k, ei[i], ej, u);
    }
    return true;
}

template <class F>
struct TileSums {
    alignas(64) F column[kPanel];  // sums of g over the rows
    alignas(64) F row[kPanel];     // and over the columns
    double value;
    bool near;  // some rows are so close that the gradient wants differences
};

// From dot products to the kernel's weighted derivative, in place, and the sums of a tile. `skip`: column of row 0
// that is no pair, moving one to the right from row to row.
template <MmdKernel K, class F, bool Grad>
void apply_kernel(const Problem<F>& p, const Panel& pi, const Panel& pj, const F* panel_i, const F* panel_j, int64_t k,
                  int64_t skip, F* d, TileSums<F>& sums) {
    using V = typename Vector<F>::type;
    constexpr bool distance = K != MmdKernel::polynomial;
    constexpr int lanes = Vector<F>::lanes, vectors = kPanel / lanes;
    static_assert(vectors % kTogether == 0 || kTogether % vectors == 0, "rows are whole groups of vectors");
    const F *ei = p.e + pi.row, *wi = p.w + pi.row;
    alignas(64) F ej[kPanel], wj[kPanel], u[kPanel];
    for (int j = 0; j < kPanel; ++j) {
        ej[j] = j < pj.rows ? p.e[pj.row + j] : F(0);
        wj[j] = j < pj.rows ? p.w[pj.row + j] : F(0);
    }
    for (int i = pi.rows; i < rounded_up(pi.rows, kVectorRows); ++i)
        for (int j = 0; j < kPanel; ++j) d[i * kPanel + j] = F(0);
    const int width = rounded_up(pj.rows, kVectorColumns * lanes);
    if (width < kPanel)
        for (int i = 0; i < pi.rows; ++i)
            for (int j = width; j < kPanel; ++j) d[i * kPanel + j] = F(0);
    const auto skips = [&](int i) { return skip + i >= 0 && skip + i < kPanel; };
    F largest = F(0);
    sums.near = false;
    if (distance) {
        for (int i = 0; i < pi.rows; ++i)
            if (skips(i)) d[i * kPanel + skip + i] = F(0);  // looks like any distant pair
        sums.near = distances(panel_i, pi.rows, panel_j, k, ei, ej, d, largest);
    }
    const bool rational = largest <= p.coefs.limit;
    V total = {}, column[vectors] = {};
    for (int i = 0; i < pi.rows; ++i) {
        F* row = d + i * kPanel;
        F kept = F(0);
        if (skips(i)) kept = wj[skip + i], wj[skip + i] = F(0);
        V slopes = {};
        if (!distance)
            for (int j = 0; j < kPanel; ++j) u[j] = ei[i] + ej[j] + row[j];
#pragma GCC unroll 16
        for (int v0 = 0; v0 < vectors; v0 += kTogether) {
            V f[kTogether], g[kTogether];
            kernel_of<K, F, Grad>((distance ? row : u) + v0 * lanes, row + v0 * lanes, rational, p.coefs, f, g);
#pragma GCC unroll 8
            for (int v = 0; v < kTogether; ++v) {
                const V weight = wi[i] * load_vector(wj + (v0 + v) * lanes);
                total += f[v] * weight;
                if (Grad) {
                    const V weighted = g[v] * weight;
                    store_vector(row + (v0 + v) * lanes, weighted);
                    column[v0 + v] += weighted;
                    slopes += weighted;
                }
            }
        }
        if (Grad) sums.row[i] = lane_sum<F>(slopes);
        if (skips(i)) wj[skip + i] = kept;
    }
    sums.value = double(lane_sum<F>(total));
    if (Grad)
        for (int v = 0; v < vectors; ++v) store_vector(sums.column + v * lanes, column[v]);
}

// to[r][.] += factor sum_s g(r, s) z_s, or g(r, s) (z_s - z_r) where `Near`, for one group of vectors of columns.
template <class F, bool Near, int Columns>
void add_product(const F* g, int64_t g_row, int64_t g_step, const F* z_rows, int rows, const F* z_steps, int steps,
                 int64_t stride, double factor, double* to) {
    using V = typename Vector<F>::type;
    constexpr int lanes = Vector<F>::lanes;
    for (int r = 0; r < rows; r += kVectorRows) {
        V sum[kVectorRows][Columns] = {};
        const F* gr = g + r * g_row;
        if constexpr (Near) {
            for (int s = 0; s < steps; ++s)
#pragma GCC unroll 8
                for (int i = 0; i < kVectorRows; ++i) {
                    const int own = r + i < rows ? r + i : rows - 1;
#pragma GCC unroll 8
                    for (int l = 0; l < Columns; ++l)
                        sum[i][l] += gr[i * g_row + s * g_step] * (load_vector(z_steps + s * stride + l * lanes) -
                                                                   load_vector(z_rows + own * stride + l * lanes));
                }
        } else {
            multiply<F, Columns>(gr, g_row, g_step, z_steps, stride, steps, sum);
        }
        alignas(64) F part[Columns * lanes];
#pragma GCC unroll 8
        for (int i = 0; i < kVectorRows; ++i) {
#pragma GCC unroll 8
            for (int l = 0; l < Columns; ++l) store_vector(part + l * lanes, sum[i][l]);
            double* row = to + (r + i) * stride;
            for (int l = 0; l < Columns * lanes; ++l) row[l] += factor * double(part[l]);
        }
    }
}

template <class F, bool Near>
void add_products(const F* g, int64_t g_row, int64_t g_step, const F* z_rows, int rows, const F* z_steps, int steps,
                  int64_t k, int64_t stride, double factor, double* to) {
    constexpr int lanes = Vector<F>::lanes;
    int64_t c = 0;
#define VAEFAST_ADD(columns)                                                                                       \
    for (; k - c > (columns - 1) * lanes; c += columns * lanes)                                                    \
        add_product<F, Near, columns>(g, g_row, g_step, z_rows + c, rows, z_steps + c, steps, stride, factor, to + c)
    VAEFAST_ADD(kVectorColumns);
    if constexpr (kVectorColumns > 3) VAEFAST_ADD(3);
    if constexpr (kVectorColumns > 2) VAEFAST_ADD(2);
    VAEFAST_ADD(1);
#undef VAEFAST_ADD
}

// One tile: panels i and j. Returns the sum over ordered pairs that it stands for.
template <MmdKernel K, class F>
double tile(const MmdPairs& a, const Plan& plan, const Problem<F>& p, int i, int j) {
    alignas(64) F d[kPanel * kPanel];
    TileSums<F> sums;
    const Panel pi = plan.panels[size_t(i)], pj = plan.panels[size_t(j)];
    const F *panel_i = p.panels + i * kPanel * a.k, *panel_j = p.panels + j * kPanel * a.k;
    const bool cross = pi.of_y != pj.of_y;
    const int64_t far = 2 * kPanel;  // no pair is left out
    // x comes before y among the panels, so in a cross tile i is of x.
    const int64_t skip = i == j ? 0 : cross && a.paired ? pi.row - (pj.row - a.n) : far;
    const double factor = p.factors[cross ? 2 : pi.of_y] * (cross ? -1 : 1);
    dot_products(panel_i, pi.rows, panel_j, pj.rows, a.k, d);
    const bool to_i = (a.grad >> int(pi.of_y)) & 1, to_j = i != j && ((a.grad >> int(pj.of_y)) & 1);
    if (!to_i && !to_j) {
        apply_kernel<K, F, false>(p, pi, pj, panel_i, panel_j, a.k, skip, d, sums);
    } else {
        apply_kernel<K, F, true>(p, pi, pj, panel_i, panel_j, a.k, skip, d, sums);
        const F *zi = p.z + pi.row * a.z_stride, *zj = p.z + pj.row * a.z_stride;
        const auto add = sums.near ? add_products<F, true> : add_products<F, false>;
        if (to_i) {
            add(d, kPanel, 1, zi, pi.rows, zj, pj.rows, a.k, a.z_stride, factor, p.out + i * kPanel * a.z_stride);
            if (!sums.near)
                for (int r = 0; r < pi.rows; ++r) p.rows[i * kPanel + r] += factor * double(sums.row[r]);
        }
        if (to_j) {
            add(d, 1, kPanel, zj, pj.rows, zi, pi.rows, a.k, a.z_stride, factor, p.out + j * kPanel * a.z_stride);
            if (!sums.near)
                for (int r = 0; r < pj.rows; ++r) p.rows[j * kPanel + r] += factor * double(sums.column[r]);
        }
    }
    return factor * sums.value * (i == j ? 1 : 2);
}

template <MmdKernel K, class F>
void block_pair(const MmdPairs& a, const Plan& plan, const Problem<F>& p, int block_i, int block_j) {
    if (block_i > block_j) std::swap(block_i, block_j);
    double value = 0;
    const Block one = plan.blocks[size_t(block_i)], other = plan.blocks[size_t(block_j)];
    for (int i = one.first; i < one.end; ++i)
        for (int j = other.first; j < other.end; ++j)
            if (i <= j) value += tile<K, F>(a, plan, p, i, j);
    p.values[block_i * int64_t(plan.blocks.size()) + block_j] = value;
}

// The opponents of match `match` in round `round` of a tournament of `teams`, an even number, by the circle method.
void opponents(int teams, int round, int match, int& one, int& other) {
    one = match == 0 ? teams - 1 : (round + match) % (teams - 1);
    other = match == 0 ? round : (round - match + teams - 1) % (teams - 1);
}

template <class F>
void finish(const MmdPairs& a, const Plan& plan, const Problem<F>& p, int64_t problem, int64_t index) {
    const Panel panel = plan.panels[size_t(index)];
    if (!((a.grad >> int(panel.of_y)) & 1)) return;
    for (int r = 0; r < panel.rows; ++r) {
        const int64_t row = problem * (a.n + a.m) + panel.row + r, own = index * kPanel + r;
        const double sum = p.rows[own], *from = p.out + own * a.z_stride;
        const F* z = p.z + (panel.row + r) * a.z_stride;
        F* out = static_cast<F*>(a.out) + row * a.k;
        a.rows[row] = sum;
        const double own_part = a.kernel == MmdKernel::polynomial ? 0 : sum;
        for (int64_t c = 0; c < a.k; ++c) out[c] = F(from[c] - own_part * double(z[c]));
    }
}

template <MmdKernel K, class F>
void all_pairs(const MmdPairs& a) {
    const Plan plan(a.n, a.m);
    const int64_t panels = int64_t(plan.panels.size()), rows = a.n + a.m;
    const int blocks = int(plan.blocks.size()), teams = blocks + blocks % 2;
    const int64_t padded = panels * kPanel, sums = a.grad ? padded * (a.z_stride + 1) : 0;
    const int64_t bytes = padded * a.k * int64_t(sizeof(F)) + sums * 8 + int64_t(blocks) * blocks * 8;
    int64_t group = kMemory / (bytes > 0 ? bytes : 1);
    group = group < 1 ? 1 : group > a.problems ? a.problems : group;
    Buffer<F> packed(group * padded * a.k);
    Buffer<double> sum(group * sums), values(group * blocks * blocks);
    std::vector<Problem<F>> problems;
    problems.resize(size_t(group));
    for (int64_t first = 0; first < a.problems; first += group) {
        const int64_t count = a.problems - first < group ? a.problems - first : group;
        for (int64_t q = 0; q < count; ++q) {
            const int64_t p = first + q;
            double* out = sum.data() + q * sums;
            problems[size_t(q)] = {static_cast<const F*>(a.z) + p * rows * a.z_stride,
                                   static_cast<const F*>(a.e) + p * rows,
                                   static_cast<const F*>(a.w) + p * rows,
                                   a.factors + p * 3,
                                   packed.data() + q * padded * a.k,
                                   out,
                                   out + padded * a.z_stride,
                                   values.data() + q * blocks * blocks,
                                   mmd_coefs<F>(K, a.scales, int(a.count), a.offset ? a.offset[p] : 0.0)};
        }
        parallel_tasks(count * panels, a.threads, [&](int64_t i) {
            const Problem<F>& p = problems[size_t(i / panels)];
            const int64_t panel = i % panels;
            pack(a, plan, p, panel);
            if (!a.grad) return;
            memset(p.out + panel * kPanel * a.z_stride, 0, size_t(kPanel * a.z_stride) * sizeof(double));
            memset(p.rows + panel * kPanel, 0, kPanel * sizeof(double));
        });
        parallel_tasks(count * blocks, a.threads, [&](int64_t i) {
            const int b = int(i % blocks);
            block_pair<K, F>(a, plan, problems[size_t(i / blocks)], b, b);
        });
        const int matches = teams / 2;
        for (int round = 0; round < teams - 1; ++round)
            parallel_tasks(count * matches, a.threads, [&](int64_t i) {
                int one, other;
                opponents(teams, round, int(i % matches), one, other);
                if (one < blocks && other < blocks)
                    block_pair<K, F>(a, plan, problems[size_t(i / matches)], one, other);
            });
        parallel_tasks(count * panels, a.threads, [&](int64_t i) {
            if (a.grad) finish(a, plan, problems[size_t(i / panels)], first + i / panels, i % panels);
            if (i % panels) return;
            const Problem<F>& p = problems[size_t(i / panels)];
            double value = 0;
            for (int b = 0; b < blocks; ++b)
                for (int c = b; c < blocks; ++c) value += p.values[b * blocks + c];
            a.value[first + i / panels] = value;
        });
    }
}

template <class F>
void pairs(const MmdPairs& a) {
    switch (a.kernel) {
        case MmdKernel::imq: return all_pairs<MmdKernel::imq, F>(a);
        case MmdKernel::rbf: return all_pairs<MmdKernel::rbf, F>(a);
        case MmdKernel::laplacian: return all_pairs<MmdKernel::laplacian, F>(a);
        case MmdKernel::energy: return all_pairs<MmdKernel::energy, F>(a);
        case MmdKernel::polynomial: return all_pairs<MmdKernel::polynomial, F>(a);
    }
}

}  // namespace

void mmd_center(const MmdCenter& a) {
    switch (a.dtype) {
        case DType::float32: return center<float>(a);
        case DType::float64: return center<double>(a);
        case DType::bfloat16: return center<BFloat16>(a);
        case DType::float16: return center<Float16>(a);
    }
}

void mmd_pairs(const MmdPairs& a) {
    if (a.dtype == DType::float64) pairs<double>(a);
    else pairs<float>(a);
}

}  // namespace vaefast::VAEFAST_ISA
