// Mean and variance of every dimension of a Gaussian mixture, and their gradients. Rows go in parts, which threads
// share out, and within a part in blocks that stay in the L1 cache. A block sums deviations from the mean so far, which
// loses nothing where the data lie far from 0; blocks and parts are merged in double, in their order.
#include "kernels.h"

#include "convert.h"
#include "parallel.h"

namespace vaefast::VAEFAST_ISA {
namespace {

constexpr int kColumns = 512;   // columns at a time
constexpr int kBlock = 4096;    // elements at a time
constexpr int kBlockRows = 64;  // and rows, which are summed in the type of the data

int at_most(int64_t n, int64_t limit) { return int(n < limit ? n : limit); }

template <ScaleParam P, class C>
struct Forward {
    // Means, sums of squared deviations and sums of s^2 of a part of the rows, for columns column0 .. column0 + n - 1.
    static void part(const MixtureMomentsForward& a, int64_t index, int64_t column0, int n) {
        double* mean = a.part_sums + index * 3 * a.k + column0;
        double *squares = mean + a.k, *widths = squares + a.k;
        for (int c = 0; c < n; ++c) mean[c] = squares[c] = widths[c] = 0;
        alignas(64) C room[kBlock], variance[kBlock];
        alignas(64) C shift[kColumns], sum[kColumns], square[kColumns], width[kColumns];
        const int64_t begin = a.rows * index / a.parts, end = a.rows * (index + 1) / a.parts;
        const int group = at_most(kBlock / n, kBlockRows);
        for (int64_t row = begin; row < end; row += group) {
            const int rows = at_most(end - row, group);
            if (a.scale) {
                const C* __restrict s =
                    read_runs(a.scale, a.dtype, row * a.scale_stride + column0, a.scale_stride, rows, n, room);
                for (int j = 0; j < rows * n; ++j) variance[j] = variance_of<P>(s[j]).value;
            }
            const C* __restrict m =
                read_runs(a.mu, a.dtype, row * a.mu_stride + column0, a.mu_stride, rows, n, room);
            if (row == begin) {  // no mean so far: that of this block will do, and needs few digits
                for (int c = 0; c < n; ++c) sum[c] = C(0);
                for (int i = 0; i < rows; ++i)
                    for (int c = 0; c < n; ++c) sum[c] += m[i * n + c] - m[c];
                for (int c = 0; c < n; ++c) shift[c] = m[c] + sum[c] / C(rows);
            } else {
                for (int c = 0; c < n; ++c) shift[c] = C(mean[c]);
            }
            for (int c = 0; c < n; ++c) sum[c] = square[c] = width[c] = C(0);
            for (int i = 0; i < rows; ++i)
                for (int c = 0; c < n; ++c) {
                    const C d = m[i * n + c] - shift[c];
                    sum[c] += d;
                    square[c] += d * d;
                }
            if (a.scale)
                for (int i = 0; i < rows; ++i)
                    for (int c = 0; c < n; ++c) width[c] += variance[i * n + c];
            const double before = double(row - begin), share = double(rows) / (before + rows);
            for (int c = 0; c < n; ++c) {
                const double s = double(sum[c]), offset = double(shift[c]) + s / rows - mean[c];
                squares[c] += double(square[c]) - s * s / rows + offset * offset * before * share;
                mean[c] += offset * share;
                widths[c] += double(width[c]);
            }
        }
    }

    static void merge(const MixtureMomentsForward& a) {
        const double n = double(a.rows > 0 ? a.rows : 1);
        const auto rows_of = [&](int64_t p) { return double(a.rows * (p + 1) / a.parts - a.rows * p / a.parts); };
        for (int64_t c = 0; c < a.k; ++c) a.mean[c] = a.between[c] = a.within[c] = 0;
        for (int64_t p = 0; p < a.parts; ++p) {
            const double *mean = a.part_sums + p * 3 * a.k, *widths = mean + 2 * a.k, share = rows_of(p) / n;
            for (int64_t c = 0; c < a.k; ++c) {
                a.mean[c] += share * mean[c];
                a.within[c] += widths[c];
            }
        }
        for (int64_t p = 0; p < a.parts; ++p) {
            const double *mean = a.part_sums + p * 3 * a.k, *squares = mean + a.k, rows = rows_of(p);
            for (int64_t c = 0; c < a.k; ++c) {
                const double offset = mean[c] - a.mean[c];
                a.between[c] += squares[c] + rows * offset * offset;
            }
        }
        for (int64_t c = 0; c < a.k; ++c) a.between[c] /= n, a.within[c] /= n;
    }

    static void launch(const MixtureMomentsForward& a) {
        const int64_t tiles = (a.k + kColumns - 1) / kColumns;
        parallel_rows(tiles * a.parts, a.rows / a.parts * (a.k < kColumns ? a.k : kColumns), a.threads,
                      [&](int64_t unit0, int64_t unit1) {
                          for (int64_t unit = unit0; unit < unit1; ++unit) {
                              const int64_t column = unit % tiles * kColumns;
                              part(a, unit / tiles, column, at_most(a.k - column, kColumns));
                          }
                      });
        merge(a);
    }
};

template <ScaleParam P, class C>
struct Backward {
    // What the columns of a tile have in common; the mean in two parts, of which the second is what C cannot hold.
    struct Columns {
        alignas(64) C level[kColumns], slope[kColumns], mean[kColumns], rest[kColumns], width[kColumns];

        Columns(const MixtureMomentsBackward& a, int64_t column0, int n) {
            for (int c = 0; c < n; ++c) {
                const int64_t j = column0 + c;
                level[c] = a.grad_mean ? C(a.grad_mean[j] / double(a.rows)) : C(0);
                slope[c] = a.grad_between ? C(2 * a.grad_between[j] / double(a.rows)) : C(0);
                width[c] = a.grad_within ? C(a.grad_within[j] / double(a.rows)) : C(0);
                mean[c] = C(a.mean[j]);
                rest[c] = C(a.mean[j] - double(mean[c]));
            }
        }
    };

    static void rows(const MixtureMomentsBackward& a, int64_t row0, int64_t row1) {
        alignas(64) C room[kColumns], out_room[kColumns];
        // Gradients larger than the caches that are computed in their own type.
        const bool stream = a.dtype == (sizeof(C) == 8 ? DType::float64 : DType::float32) &&
                            a.rows * a.k * int64_t(sizeof(C)) >= kStreamBytes;
        const auto place = [&](void* to, int64_t first) { return stream ? out_room : place_run(to, a.dtype, first, out_room); };
        const auto finish = [&](void* to, int64_t first, int n, const C* from) {
            if (stream) stream_run(static_cast<C*>(to) + first, from, n);
            else write_run(to, a.dtype, first, n, from);
        };
        for (int64_t column0 = 0; column0 < a.k; column0 += kColumns) {
            const int n = at_most(a.k - column0, kColumns);
            const Columns of(a, column0, n);
            for (int64_t row = row0; row < row1; ++row) {
                const int64_t first = row * a.k + column0;
                const C* __restrict m = read_run(a.mu, a.dtype, row * a.mu_stride + column0, n, room);
                C* __restrict to_mu = place(a.grad_mu, first);
                for (int c = 0; c < n; ++c)
                    to_mu[c] = of.level[c] + of.slope[c] * ((m[c] - of.mean[c]) - of.rest[c]);
                finish(a.grad_mu, first, n, to_mu);
                if (!a.grad_scale) continue;
                const C* __restrict s = read_run(a.scale, a.dtype, row * a.scale_stride + column0, n, room);
                C* __restrict to_scale = place(a.grad_scale, first);
                for (int c = 0; c < n; ++c) to_scale[c] = of.width[c] * variance_of<P>(s[c]).derivative;
                finish(a.grad_scale, first, n, to_scale);
            }
        }
        if (stream) end_streams();
    }

    static void launch(const MixtureMomentsBackward& a) {
        parallel_rows(a.rows, a.k, a.threads, [&](int64_t row0, int64_t row1) { rows(a, row0, row1); });
    }
};

template <template <ScaleParam, class> class Kernel, ScaleParam P, class Args>
void launch_param(const Args& a) {
    if (a.dtype == DType::float64) Kernel<P, double>::launch(a);
    else Kernel<P, float>::launch(a);
}

template <template <ScaleParam, class> class Kernel, class Args>
void launch(const Args& a) {
    switch (a.param) {
        case ScaleParam::logvar: return launch_param<Kernel, ScaleParam::logvar>(a);
        case ScaleParam::logstd: return launch_param<Kernel, ScaleParam::logstd>(a);
        case ScaleParam::softplus: return launch_param<Kernel, ScaleParam::softplus>(a);
    }
}

}  // namespace

void mixture_moments_forward(const MixtureMomentsForward& a) { launch<Forward>(a); }
void mixture_moments_backward(const MixtureMomentsBackward& a) { launch<Backward>(a); }

}  // namespace vaefast::VAEFAST_ISA
