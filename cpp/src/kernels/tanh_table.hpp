// The table of tanh in float32 (see elementary.hpp): 32 polynomials, a row {center, c0, c1, ...} for
// c0 + c1 d + c2 d^2 + ... with d the distance from the center. The low five bits of the index select the
// row.
//
// Coefficients are least-squares fits on Chebyshev nodes, weighted by the last place of the result; each is
// rounded to float32 before the next are fitted. Centers are chosen so that the function's value there, c0,
// is within 1/50 of a last place of a float32, which makes the error of rounding it negligible.
#pragma once

#include "vec.hpp"

namespace {

inline constexpr int kPieces = 32;
inline constexpr int kPieceWidth = 8;

/// The same numbers by rows and by columns: each instruction set reads one of the two.
struct PieceTable {
  float rows[kPieces][kPieceWidth];
  float columns[kPieceWidth][kPieces];
};

constexpr PieceTable piece_table(const float (&rows)[kPieces][kPieceWidth]) {
  PieceTable table{};
  for (int piece = 0; piece < kPieces; ++piece)
    for (int k = 0; k < kPieceWidth; ++k) table.rows[piece][k] = table.columns[k][piece] = rows[piece][k];
  return table;
}

/// The coefficients for each lane.
struct Coefficients {
  Vec<float> of[kPieceWidth];
  NNCORE_INLINE Vec<float> operator[](int k) const { return of[k]; }
};

#if NNCORE_VECTOR_BYTES == 64
/// A column of 32 is two registers; one instruction picks from both, by the low five bits of each lane.
template <int kCount>
NNCORE_INLINE Coefficients look_up(const PieceTable& table, Vec<uint32_t> index) {
  Coefficients c;
  for (int k = 0; k < kCount; ++k) {
    const float* column = table.columns[k];
    c.of[k] = permute(load(column), load(column + kLanes<float>), index);
  }
  return c;
}
#else
/// Transposes four rows of four, or two such groups side by side.
template <class V>
NNCORE_INLINE void transpose(const V (&row)[4], Vec<float>* column) {
#if NNCORE_VECTOR_BYTES == 32
  const V low01 = __builtin_shufflevector(row[0], row[1], 0, 8, 1, 9, 4, 12, 5, 13);
  const V low23 = __builtin_shufflevector(row[2], row[3], 0, 8, 1, 9, 4, 12, 5, 13);
  const V high01 = __builtin_shufflevector(row[0], row[1], 2, 10, 3, 11, 6, 14, 7, 15);
  const V high23 = __builtin_shufflevector(row[2], row[3], 2, 10, 3, 11, 6, 14, 7, 15);
  column[0] = __builtin_shufflevector(low01, low23, 0, 1, 8, 9, 4, 5, 12, 13);
  column[1] = __builtin_shufflevector(low01, low23, 2, 3, 10, 11, 6, 7, 14, 15);
  column[2] = __builtin_shufflevector(high01, high23, 0, 1, 8, 9, 4, 5, 12, 13);
  column[3] = __builtin_shufflevector(high01, high23, 2, 3, 10, 11, 6, 7, 14, 15);
#else
  const V low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const V low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const V high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const V high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  column[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  column[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  column[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  column[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
#endif
}

/// Reads the row of each lane and transposes the rows, which is faster than gathering or selecting by column.
template <int kCount>
NNCORE_INLINE Coefficients look_up(const PieceTable& table, Vec<uint32_t> index) {
  typedef VectorType<float, 4>::type Quad;
  const Vec<uint32_t> piece = index & (kPieces - 1);
  const auto pairs = bit_cast<Vec<uint64_t> >(piece);  // half as many lanes to extract
  const auto piece_of = [&](int lane) __attribute__((always_inline)) {
    return lane % 2 == 0 ? static_cast<uint32_t>(pairs[lane / 2]) : pairs[lane / 2] >> 32;
  };
  const auto quad = [&](int lane, int first) __attribute__((always_inline)) {
    Quad v;
    __builtin_memcpy(&v, table.rows[piece_of(lane)] + first, sizeof v);
    return v;
  };
  Coefficients c;
  for (int first = 0; first < kPieceWidth; first += 4) {
    Vec<float> row[4];
    for (int lane = 0; lane < 4; ++lane) {
#if NNCORE_VECTOR_BYTES == 32
      row[lane] = __builtin_shufflevector(quad(lane, first), quad(lane + 4, first), 0, 1, 2, 3, 4, 5, 6, 7);
#else
      row[lane] = quad(lane, first);
#endif
    }
    transpose(row, c.of + first);
  }
  return c;
}
#endif

/// tanh from 0 to 9.2, in four pieces per octave. Below 5/64 there is one piece, odd except for its last
/// terms. The index is the bits of a from the second mantissa bit up. Approximation error 0.25 ULP, and 0.003
/// below 5/64.
alignas(64) constexpr PieceTable kTanh = piece_table({
    {2.259925f, 0.97845334f, 0.042629097f, -0.04170934f, 0.026599465f, -0.012188406f, 0.003982717f},
    {2.743075f, 0.99174666f, 0.016438538f, -0.01630195f, 0.010690071f, -0.005214055f, 0.0019114532f},
    {3.247425f, 0.99698216f, 0.0060265763f, -0.006007971f, 0.0039814706f, -0.001987943f, 7.697577e-04f},
    {3.75745f, 0.9989108f, 0.0021772485f, -0.0021747132f, 0.0014463576f, -7.283818e-04f, 2.9335142e-04f},
    {4.4906f, 0.9997485f, 5.028743e-04f, -5.021402e-04f, 3.3502403e-04f, -1.7519065e-04f, 6.809241e-05f},
    {5.50305f, 0.9999668f, 6.640058e-05f, -6.631218e-05f, 4.4197728e-05f, -2.318424e-05f, 9.288635e-06f},
    {6.5056f, 0.9999955f, 8.940964e-06f, -8.928601e-06f, 5.9500144e-06f, -3.1244733e-06f, 1.2582885e-06f},
    {7.51305f, 0.9999994f, 1.1921704e-06f, -1.1905479e-06f, 7.9262645e-07f, -4.1638177e-07f, 1.7068056e-07f},
    {8.624001f, 0.99999994f, 1.311851e-07f, -1.859358e-07f, 5.6745414e-08f, 8.4654424e-08f, 1.0047686e-07f},
    {8.624001f, 0.99999994f, 1.311851e-07f, -1.859358e-07f, 5.6745414e-08f, 8.4654424e-08f, 1.0047686e-07f},
    {8.624001f, 0.99999994f, 1.311851e-07f, -1.859358e-07f, 5.6745414e-08f, 8.4654424e-08f, 1.0047686e-07f},
    {8.624001f, 0.99999994f, 1.311851e-07f, -1.859358e-07f, 5.6745414e-08f, 8.4654424e-08f, 1.0047686e-07f},
    {0.0f, 0.0f, 1.0f, 0.0f, -0.33333477f, 7.644292e-05f, 0.13226587f},
    {0.0861125f, 0.08590028f, 0.9926211f, -0.08526636f, -0.32257533f, 0.05247977f, -11.258384f},
    {0.10171953f, 0.10137015f, 0.9897241f, -0.100327924f, -0.32007897f, 0.059432395f, 4.05559f},
    {0.1173375f, 0.11680195f, 0.98635733f, -0.11520825f, -0.31669638f, 0.07593877f, 16.076124f},
    {0.14082031f, 0.1398968f, 0.9804289f, -0.1371588f, -0.3074646f, 0.088323265f, -0.33918267f},
    {0.17233907f, 0.1706529f, 0.9708776f, -0.16568291f, -0.29533464f, 0.10506224f, 0.04998888f},
    {0.20266563f, 0.19993575f, 0.96002567f, -0.1919437f, -0.28126544f, 0.12177587f, -0.98264897f},
    {0.23394687f, 0.22977023f, 0.94720566f, -0.21763928f, -0.26599768f, 0.13187872f, 0.871384f},
    {0.28166562f, 0.27444595f, 0.9246794f, -0.25377437f, -0.23851408f, 0.14982967f, 0.01340036f},
    {0.3437875f, 0.3308545f, 0.8905353f, -0.29463777f, -0.19935854f, 0.16422188f, 0.028749852f},
    {0.40519688f, 0.3843868f, 0.85224676f, -0.32759252f, -0.158092f, 0.17007999f, -0.04366658f},
    {0.46829063f, 0.43681714f, 0.8091908f, -0.3534685f, -0.11540404f, 0.16819228f, 0.037477914f},
    {0.56061876f, 0.5084364f, 0.74149245f, -0.37700152f, -0.055486206f, 0.15367614f, -0.042611215f},
    {0.68745625f, 0.59634537f, 0.6443722f, -0.38426828f, 0.014349972f, 0.119454525f, -0.058712404f},
    {0.8134f, 0.6714616f, 0.5491393f, -0.36872604f, 0.06455752f, 0.07961295f, -0.06608801f},
    {0.9356875f, 0.7332346f, 0.46236706f, -0.33902353f, 0.094449855f, 0.04381303f, -0.051062834f},
    {1.1281f, 0.810368f, 0.34330368f, -0.27820426f, 0.111019015f, 0.0031733501f, -0.032119833f},
    {1.377825f, 0.8804633f, 0.22478436f, -0.19791554f, 0.09933311f, -0.021247162f, -0.009567095f},
    {1.6241375f, 0.92522216f, 0.14396396f, -0.13319908f, 0.07524949f, -0.025133954f, 0.0014485198f},
    {1.877825f, 0.95429826f, 0.08931483f, -0.08523303f, 0.051566668f, -0.02078627f, 0.0045922874f},
});

}  // namespace
