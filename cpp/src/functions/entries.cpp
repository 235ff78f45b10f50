#include "nncore/entries.hpp"

#include <sstream>
#include <stdexcept>

namespace nncore {

void check_parameter(const char* name, const ParameterRange& range, double value) {
  if (range.contains(value)) return;
  std::ostringstream message;
  message << name << " must be " << range.text << "; got " << value;
  throw std::invalid_argument(message.str());
}

}  // namespace nncore
