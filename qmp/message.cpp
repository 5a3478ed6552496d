// Lines of QMP and what they mean. Every key that is read is checked; every key that is not read may be anything.
#include "qmp/message.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <optional>
#include <stdexcept>

namespace qmp {
namespace {

namespace json = boost::json;

// What parse_message() hands out as its error.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

const json::object& object_at(const json::value& value, const char* what) {
  const json::object* object = value.if_object();
  if (!object) throw Malformed(std::string(what) + " is not an object");
  return *object;
}

const json::value& member(const json::object& object, std::string_view key, const char* what) {
  const json::value* value = object.if_contains(key);
  if (!value) throw Malformed(std::string(what) + " without \"" + std::string(key) + '"');
  return *value;
}

std::string string_member(const json::object& object, std::string_view key, const char* what) {
  const json::string* text = member(object, key, what).if_string();
  if (!text) throw Malformed(std::string(what) + " whose \"" + std::string(key) + "\" is not a string");
  return std::string(*text);
}

// The parser makes an int64 of what fits in one, a uint64 only of what is larger.
std::optional<std::uint64_t> as_unsigned(const json::value& value) {
  if (const std::uint64_t* large = value.if_uint64()) return *large;
  if (const std::int64_t* small = value.if_int64(); small && *small >= 0) return static_cast<std::uint64_t>(*small);
  return std::nullopt;
}

unsigned version_part(const json::object& version, std::string_view key) {
  const std::optional<std::uint64_t> number = as_unsigned(member(version, key, "greeting"));
  if (!number || *number > std::numeric_limits<unsigned>::max()) throw Malformed("greeting with an odd version");
  return static_cast<unsigned>(*number);
}

Greeting read_greeting(const json::value& body) {
  const json::object& version = object_at(member(object_at(body, "greeting"), "version", "greeting"), "version");
  const json::object& number = object_at(member(version, "qemu", "greeting"), "version");
  Greeting greeting{version_part(number, "major"), version_part(number, "minor"), version_part(number, "micro"), ""};
  if (version.contains("package")) greeting.package = string_member(version, "package", "greeting");
  return greeting;
}

Event read_event(const json::object& message) {
  Event event{string_member(message, "event", "event"), {}};
  if (const json::value* data = message.if_contains("data")) event.data = object_at(*data, "event data");
  return event;
}

std::uint64_t read_id(const json::object& message) {
  const json::value* id = message.if_contains("id");
  if (!id) return 0;
  const std::optional<std::uint64_t> number = as_unsigned(*id);
  if (!number) throw Malformed("reply with an id that is not a natural number");
  return *number;
}

Message read_message(std::string_view line) {
  json::parse_options options;
  options.max_depth = 256;  // a chain of backing files nests once per file; the parser does not recurse
  json::error_code error;
  json::value value = json::parse(line, error, {}, options);
  if (error) throw Malformed("not JSON (" + error.message() + ")");

  json::object& message = value.is_object() ? value.get_object() : throw Malformed("not a JSON object");
  const auto kinds = message.count("QMP") + message.count("event") + message.count("return") + message.count("error");
  if (kinds != 1) throw Malformed("neither greeting, reply, error nor event");

  if (const json::value* greeting = message.if_contains("QMP")) return read_greeting(*greeting);
  if (message.contains("event")) return read_event(message);
  const std::uint64_t id = read_id(message);
  if (json::value* result = message.if_contains("return")) return Reply{id, std::move(*result)};
  const json::object& refusal = object_at(message.at("error"), "error");
  return Failure{id, string_member(refusal, "class", "error"), string_member(refusal, "desc", "error")};
}

}  // namespace

std::expected<Message, std::string> parse_message(std::string_view line) {
  try {
    return read_message(line);
  } catch (const std::exception& e) {
    return std::unexpected("broken QMP line, " + std::string(e.what()) + ": " + excerpt(line));
  }
}

std::string to_line(const Command& command, std::uint64_t id) {
  json::object line{{"execute", command.name}};
  if (!command.arguments.empty()) line["arguments"] = command.arguments;
  line["id"] = id;
  return json::serialize(line) + '\n';
}

std::string excerpt(std::string_view bytes) {
  constexpr std::size_t shown = 80;
  constexpr char digits[] = "0123456789abcdef";
  std::string text = "\"";
  for (const char c : bytes.substr(0, shown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      text += "\\\\";
    } else if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      text += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
  }
  text += '"';
  return bytes.size() > shown ? text + "... (" + std::to_string(bytes.size()) + " bytes)" : text;
}

void LineSplitter::feed(std::string_view bytes) {
  if (broken_) return;
  if (begin_ > 0) {  // at most once per feed, so that taking many lines stays linear
    buffer_.erase(0, begin_);
    if (newline_ != std::string::npos) newline_ -= begin_;
    begin_ = 0;
  }
  const std::size_t before = buffer_.size();
  buffer_ += bytes;
  if (!has_line()) find_newline(before);
}

std::expected<std::string, std::string> LineSplitter::next() {
  if (broken_) {
    return std::unexpected("a line of more than " + std::to_string(limit_) + " bytes, beginning with " +
                           excerpt(buffer_));
  }
  if (!has_line()) return std::string();
  std::string line = buffer_.substr(begin_, newline_ - begin_);
  if (line.ends_with('\r')) line.pop_back();
  begin_ = newline_ + 1;
  if (begin_ == buffer_.size() && buffer_.capacity() > (64u << 10)) {
    buffer_ = {};  // one long reply should not weigh on a process that then waits for days
    begin_ = 0;
  }
  find_newline(begin_);
  return line;
}

std::string_view LineSplitter::rest() const {
  return has_line() ? std::string_view() : std::string_view(buffer_).substr(begin_);
}

void LineSplitter::find_newline(std::size_t from) {
  newline_ = buffer_.find('\n', from);
  if (std::min(newline_, buffer_.size()) - begin_ > limit_) {
    broken_ = true;
    newline_ = std::string::npos;
    buffer_ = buffer_.substr(begin_, 100);  // excerpt() shows less; the rest is not worth its memory
    begin_ = 0;
  }
}

}  // namespace qmp
