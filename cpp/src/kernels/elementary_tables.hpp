// The tables of tanh and sigmoid in float32 (see elementary.hpp): 32 polynomials each, a row {centre, c0, c1,
// ...} for c0 + c1 d + c2 d^2 + ... with d the distance from the centre. Rows are where the low five bits of
// the index lie.
//
// Coefficients are least-squares fits on Chebyshev nodes, weighted by the last place of the result, each
// rounded to float32 before the next are fitted. Centres are chosen such that the function's value there, c0,
// is within 1/50 of a last place of a float32: its rounding costs nothing.
#pragma once

#include "vec.hpp"

namespace {

inline constexpr int kPieces = 32;
inline constexpr int kPieceWidth = 8;

/// The rows, and the columns of the same numbers: what is read depends on the instruction set.
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
/// A column of 32 is two registers, and one instruction picks from both, by the low five bits of each lane.
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
/// Four rows of four, or two such groups side by side, become columns.
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

/// Each lane's row is read, and the rows are transposed: faster than gathering, or choosing, by column.
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

/// tanh from 0 to 9.2, in four pieces an octave; what is below 5/64 is one piece, odd but for its last terms.
/// The index is a's bits from the second of its mantissa up. Own error 0.25 ULP, and 0.003 below 5/64.
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

/// e^r / (1 + 2^n e^r) for |r| <= ln(2) / 2 and n from -31 (there as if -infinity) to 0. The index is n +
/// 254. Own error 0.07 ULP.
alignas(64) constexpr PieceTable kSigmoid = piece_table({
    {0.0f, 1.0f, 1.0f, 0.49999985f, 0.16666512f, 0.0416702f, 0.008369328f, 0.0013719044f},
    {0.0f, 1.0f, 1.0f, 0.49999985f, 0.16666506f, 0.04167013f, 0.008369704f, 0.0013723866f},
    {6.1035156e-05f, 1.000061f, 1.000061f, 0.50003034f, 0.16667518f, 0.041673303f, 0.0083705345f,
     0.0013689959f},
    {-1.2207031e-04f, 0.9998779f, 0.9998779f, 0.49993882f, 0.16664462f, 0.041664854f, 0.008369219f,
     0.001373291f},
    {1.8310547e-04f, 1.0001831f, 1.0001831f, 0.50009143f, 0.16669533f, 0.041676614f, 0.008372615f,
     0.0013789408f},
    {-2.4414062e-04f, 0.99975586f, 0.99975586f, 0.4998778f, 0.16662364f, 0.041658126f, 0.008371868f,
     0.0013826039f},
    {0.0f, 0.99999994f, 0.99999994f, 0.4999999f, 0.1666635f, 0.041665718f, 0.008378531f, 0.0013974023f},
    {0.0f, 0.9999999f, 0.9999998f, 0.4999998f, 0.16666342f, 0.04166569f, 0.008378468f, 0.0013973052f},
    {0.0f, 0.99999976f, 0.9999996f, 0.49999955f, 0.16666326f, 0.0416656f, 0.008378482f, 0.0013973857f},
    {0.0f, 0.9999995f, 0.9999991f, 0.49999908f, 0.16666295f, 0.04166545f, 0.0083783725f, 0.0013972739f},
    {0.0f, 0.99999905f, 0.99999815f, 0.49999812f, 0.1666623f, 0.041665122f, 0.00837829f, 0.0013973216f},
    {0.0f, 0.9999981f, 0.99999624f, 0.49999622f, 0.16666104f, 0.041664496f, 0.008377988f, 0.0013971468f},
    {0.0f, 0.9999962f, 0.99999243f, 0.4999924f, 0.16665849f, 0.04166321f, 0.008377523f, 0.0013971054f},
    {0.0f, 0.9999924f, 0.9999848f, 0.49998477f, 0.16665341f, 0.041660678f, 0.008376462f, 0.0013966907f},
    {0.0f, 0.99998474f, 0.99996954f, 0.4999695f, 0.16664326f, 0.04165563f, 0.008374231f, 0.0013957283f},
    {0.0f, 0.9999695f, 0.999939f, 0.499939f, 0.16662297f, 0.041645516f, 0.008369874f, 0.0013941181f},
    {6.1035156e-05f, 1.0f, 0.999939f, 0.4999085f, 0.16659234f, 0.041626986f, 0.008362747f, 0.001395496f},
    {4.272461e-04f, 1.0003052f, 1.0001831f, 0.49996948f, 0.16657165f, 0.04160057f, 0.008351044f,
     0.0013959716f},
    {0.0f, 0.9997559f, 0.99951196f, 0.49951202f, 0.16633837f, 0.0415032f, 0.008312459f, 0.0013755835f},
    {0.0f, 0.99951196f, 0.99902415f, 0.49902436f, 0.16601528f, 0.041345518f, 0.008237168f, 0.0013281576f},
    {0.0f, 0.9990244f, 0.99804974f, 0.49805102f, 0.16536744f, 0.041022208f, 0.008106879f, 0.00128637f},
    {9.765625e-04f, 0.9990239f, 0.9970746f, 0.49659166f, 0.16423616f, 0.040418826f, 0.007854912f,
     0.0012030991f},
    {0.0f, 0.99610895f, 0.99223304f, 0.4922556f, 0.1615256f, 0.039115682f, 0.007340801f, 0.0010437686f},
    {0.0017089844f, 0.99393207f, 0.9862141f, 0.48544902f, 0.15677005f, 0.036713608f, 0.0063828663f,
     7.5259473e-04f},
    {0.0f, 0.9846154f, 0.96946746f, 0.46981895f, 0.14689314f, 0.032032486f, 0.004611862f, 2.3424147e-04f},
    {0.0021972656f, 0.9717652f, 0.94225496f, 0.44251356f, 0.12929982f, 0.023842666f, 0.0016833018f,
     -5.457994e-04f},
    {7.9345703e-04f, 0.9418796f, 0.8864335f, 0.39103484f, 0.09863135f, 0.0109173255f, -0.002225604f,
     -0.0012988762f},
    {6.1035156e-05f, 0.8889371f, 0.79016095f, 0.30728003f, 0.053649392f, -0.0047435244f, -0.0052168486f,
     -0.0011942538f},
    {1.8310547e-04f, 0.8001172f, 0.6400704f, 0.1920023f, 0.0042512063f, -0.014722437f, -0.003800282f,
     3.2988202e-04f},
    {-6.1035156e-04f, 0.6663954f, 0.444354f, 0.07411923f, -0.024666738f, -0.010289452f, 9.666328e-04f,
     0.0010974517f},
    {0.0f, 0.5f, 0.25f, 6.413853e-08f, -0.020831471f, 1.9700057e-05f, 0.0021807244f, 2.29455e-04f},
    {0.0f, 1.0f, 1.0f, 0.49999982f, 0.16666515f, 0.04167091f, 0.008369229f, 0.0013681117f},
});

}  // namespace
