// QMP from a hostile peer: the splitter and the parser never throw, whatever the bytes and however they are cut; and
// what to_line() writes is one line that reads back.
#include <algorithm>
#include <boost/json/parse.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <string>
#include <string_view>
#include <variant>

#include "qmp/message.hpp"

namespace {

void require(bool truth, std::source_location where = std::source_location::current()) {
  if (truth) return;
  std::fprintf(stderr, "%s:%u: not so\n", where.file_name(), static_cast<unsigned>(where.line()));
  std::abort();
}

// Boost.JSON 1.81 reads doubles to the last bit but one, and 1e400 as an infinity that it writes as no JSON.
bool has_double(const boost::json::value& value) {
  if (const boost::json::array* list = value.if_array()) return std::ranges::any_of(*list, has_double);
  if (const boost::json::object* object = value.if_object()) {
    return std::ranges::any_of(*object, [](const auto& member) { return has_double(member.value()); });
  }
  return value.is_double();
}

// A reply's value, sent back as an argument, survives.
void round_trip(const boost::json::value& value) {
  if (has_double(value)) return;
  const std::string line = qmp::to_line({"x", {{"value", value}}}, 5);
  require(line.find('\n') == line.size() - 1);
  boost::json::error_code error;
  boost::json::parse_options options;
  options.max_depth = 300;
  const boost::json::value back = boost::json::parse(line, error, {}, options);
  require(!error && back.at("id").to_number<std::uint64_t>() == 5);
  require(back.at("arguments").at("value") == value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::size_t piece = 1 + data[0] % 64u;  // the first byte says how the rest is cut
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);

  constexpr std::size_t limit = 4096;
  qmp::LineSplitter splitter(limit);
  std::string seen;  // the lines, with their newlines
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    splitter.feed(bytes.substr(at, piece));
    while (splitter.has_line()) {
      const std::expected<std::string, std::string> line = splitter.next();
      require(line.has_value() && line->size() <= limit && line->find('\n') == std::string::npos);
      seen += *line + '\n';
      const std::expected<qmp::Message, std::string> message = qmp::parse_message(*line);
      if (!message) {
        require(message.error().size() < 1000 && message.error().find('\n') == std::string::npos);
      } else if (const qmp::Reply* reply = std::get_if<qmp::Reply>(&*message)) {
        round_trip(reply->value);
      }
    }
    require(splitter.broken() == !splitter.next().has_value());
    require(splitter.rest().size() <= limit);
  }

  if (!splitter.broken()) {  // cut or whole, the lines are the same
    qmp::LineSplitter whole(limit);
    whole.feed(bytes);
    std::string again;
    while (whole.has_line()) again += *whole.next() + '\n';
    require(again == seen && whole.rest() == splitter.rest());
  }
  return 0;
}
