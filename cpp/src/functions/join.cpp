#include "functions/join.hpp"

namespace nncore {

std::string as_words(std::int64_t number) { return std::to_string(number); }

std::string join_words(std::initializer_list<std::string_view> pieces) {
  std::string text;
  for (const std::string_view piece : pieces) text += piece;
  return text;
}

}  // namespace nncore
