// NotFinite: a step that is not made, since a number of it is NaN or infinite.
#pragma once

#include <stdexcept>

namespace nncore {

/// Thrown before a step changes anything; also for an input that is not finite where no step is made, as by
/// Network::loss. The message names the input, or the segment and the step.
class NotFinite : public std::runtime_error {
  using runtime_error::runtime_error;
};

}  // namespace nncore
