// NotFinite: the error of a step that would use or produce NaN or infinity.
#pragma once

#include <stdexcept>

namespace nncore {

/// Thrown for a non-finite input, loss, gradient, running statistic or update, before anything is changed.
/// Calls that make no step, such as Network::loss, throw it for a non-finite input. The message names the
/// input, or the segment and the step.
class NotFinite : public std::runtime_error {
  using runtime_error::runtime_error;
};

}  // namespace nncore
