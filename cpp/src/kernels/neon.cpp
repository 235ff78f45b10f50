#if defined(__aarch64__)
#define NNCORE_VECTOR_BYTES 16
#define NNCORE_KERNELS_NEON 1
#include "kernels.hpp"

constexpr nncore::kernels::InstructionSet nncore::kernels::neon{"neon", &kFloat32, &kFloat64};
#endif
