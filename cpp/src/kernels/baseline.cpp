#define NNCORE_VECTOR_BYTES 16
#include "kernels.hpp"

constexpr nncore::kernels::InstructionSet nncore::kernels::baseline{"baseline", &kFloat32, &kFloat64};
