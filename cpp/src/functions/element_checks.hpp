// Checks every element of selected rows of a table of any type, converting one block at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "nncore/dataset.hpp"
#include "nncore/runtime.hpp"

namespace nncore {

/// The index of the first bad value, or `count`. Bad values are rare, so a loop without branches first finds
/// out whether there are any.
template <class V, class IsBad>
std::int64_t find_if_any(const V* values, std::int64_t count, IsBad is_bad) {
  bool any = false;
  for (std::int64_t i = 0; i < count; ++i) any |= is_bad(values[i]);
  return any ? std::find_if(values, values + count, is_bad) - values : count;
}

/// Calls refuse(i, column, value) for the first element for which is_bad(value), where value is the element
/// converted to To. Checks the rows rows[i], or first + i if `rows` is null, for i < count.
template <class To, class IsBad, class Refuse>
void check_elements(const Table& table, const std::int64_t* rows, std::int64_t first, std::int64_t count,
                    IsBad is_bad, Refuse refuse) {
  std::array<To, 512> block;
  const std::int64_t width = std::min<std::int64_t>(table.columns, block.size());
  const std::int64_t height = width > 0 ? static_cast<std::int64_t>(block.size()) / width : 0;
  constexpr std::int64_t kBlocks = 256;  ///< blocks between interrupt checks
  std::int64_t blocks = 0;
  for (std::int64_t column = 0; column < table.columns; column += width) {
    const Table part = table.column_range(column, std::min(width, table.columns - column));
    for (std::int64_t row = 0; row < count; row += height) {
      const std::int64_t length = std::min(height, count - row);
      if (++blocks % kBlocks == 0) check_interrupt();
      if (rows != nullptr)
        gather_rows<To>(part, rows + row, length, block.data());
      else
        gather_rows<To>(part.row_range(first + row, length), nullptr, length, block.data());
      const std::int64_t size = length * part.columns;
      if (const std::int64_t i = find_if_any(block.data(), size, is_bad); i < size)
        refuse(row + i / part.columns, column + i % part.columns, block[static_cast<std::size_t>(i)]);
    }
  }
}

}  // namespace nncore
