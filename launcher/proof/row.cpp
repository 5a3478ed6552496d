#include "launcher/proof/row.hpp"

#include <algorithm>

namespace launcher::inline proof {

void Rows::add(const std::string& what, const std::string& wanted, const std::string& is, const std::string& where,
               Outcome outcome) {
  rows_.push_back({area_, what, wanted, is, where, outcome});
}

void Rows::judged(const std::string& what, const std::string& wanted, const std::string& is, const std::string& where,
                  bool held) {
  add(what, wanted, is, where, held ? Outcome::held : Outcome::lost);
}

void Rows::equal(const std::string& what, const std::string& wanted, const std::optional<std::string>& is,
                 const std::string& where, const std::string& unread) {
  if (is)
    judged(what, wanted, *is, where, *is == wanted);
  else
    add(what, wanted, unread, where, Outcome::not_checked);
}

std::size_t count(const std::vector<Row>& rows, Outcome outcome) {
  return static_cast<std::size_t>(
      std::count_if(rows.begin(), rows.end(), [&](const Row& row) { return row.outcome == outcome; }));
}

}  // namespace launcher::proof
