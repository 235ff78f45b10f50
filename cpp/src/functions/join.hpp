// Builds messages from strings and integers.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

namespace nncore {

inline std::string_view as_words(std::string_view words) { return words; }
std::string as_words(std::int64_t number);
std::string as_words(std::integral auto number) { return as_words(static_cast<std::int64_t>(number)); }
std::string join_words(std::initializer_list<std::string_view> pieces);

/// Concatenates strings and integers: join("x has ", 3, " rows").
template <class... Pieces>
std::string join(const Pieces&... pieces) {
  return join_words({as_words(pieces)...});
}

/// The exception for an invalid argument, with the message join(pieces...).
template <class... Pieces>
std::invalid_argument invalid(const Pieces&... pieces) {
  return std::invalid_argument(join(pieces...));
}

}  // namespace nncore
