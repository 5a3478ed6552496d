#include "launcher/steps/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <expected>
#include <map>
#include <system_error>

#include "launcher/host/fd.hpp"
#include "launcher/steps/records.hpp"

namespace launcher::inline steps {

namespace {

using boost::json::object;

// A member that is a whole number of at least 0; nullopt: it is not there, or none.
std::optional<std::uint64_t> number_in(const object& line, std::string_view name) {
  const boost::json::value* found = line.if_contains(name);
  if (found == nullptr) return std::nullopt;
  if (found->is_int64() && found->get_int64() >= 0) return static_cast<std::uint64_t>(found->get_int64());
  if (found->is_uint64()) return found->get_uint64();
  return std::nullopt;
}

using Pending = std::map<std::size_t, Owed>;
using Read = std::expected<void, std::string>;  // or what is wrong with the line

Read begin_of(const object& line, std::size_t number, std::string_view name, bool done, Pending& owed) {
  const boost::json::value* json = line.if_contains(name);
  if (json == nullptr) return std::unexpected(fmt::format("no \"{}\" in it", name));
  auto undo = undo_from_json(*json);
  if (!undo) return std::unexpected(undo.error());
  owed.insert_or_assign(number, Owed{number, std::move(*undo), done, std::nullopt});
  return {};
}

Read read_old(const object& line, Pending& owed) {
  if (const auto number = number_in(line, "undo")) return begin_of(line, *number, "step", true, owed);
  const auto undone = number_in(line, "undone");
  if (!undone) return std::unexpected("neither an undo nor its end");
  owed.erase(*undone);
  return {};
}

Read read_line(std::string_view text, Pending& owed) {
  boost::system::error_code error;
  const boost::json::value json = boost::json::parse(text, error);
  if (error || !json.is_object()) return std::unexpected("no JSON object");
  const object& line = json.get_object();
  if (!line.contains("version")) return read_old(line, owed);
  if (const auto version = number_in(line, "version");
      !version || *version > static_cast<std::uint64_t>(record_version))
    return std::unexpected(version
                               ? fmt::format("of version {}, and this vmrun knows up to {}", *version, record_version)
                               : "its version is no number");
  if (const auto number = number_in(line, "begin")) return begin_of(line, *number, "undo", false, owed);
  if (const auto number = number_in(line, "undone")) {
    owed.erase(*number);
    return {};
  }
  const auto done = number_in(line, "done"), undoing = number_in(line, "undoing");
  const auto found = owed.find(done ? *done : undoing.value_or(0));
  if (!done && !undoing) return std::unexpected("nothing that this vmrun knows");
  if (found == owed.end()) return std::unexpected("about an undo that is not owed");
  if (done) found->second.done = true;
  if (undoing) found->second.begun = number_in(line, "from");
  if (undoing && !found->second.begun) return std::unexpected("no \"from\" in it");
  return {};
}

}  // namespace

JournalText parse_journal(std::string_view text) {
  JournalText journal;
  Pending owed;
  for (unsigned number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // torn: its step was never begun
    if (const Read read = read_line(text.substr(0, end), owed); !read)
      journal.unreadable.push_back(fmt::format("line {}: {}", number, read.error()));
    text.remove_prefix(end + 1);
  }
  journal.owed.reserve(owed.size());
  for (auto& [number, one] : owed) journal.owed.push_back(std::move(one));
  return journal;
}

JournalText Journal::read() const {
  if (memory_) return *memory_;
  return parse_journal(records::slurp(file_).value_or(""));
}

Owed* Journal::find(std::size_t number) const {
  if (!memory_) return nullptr;
  const auto found = std::ranges::find(memory_->owed, number, &Owed::number);
  return found == memory_->owed.end() ? nullptr : &*found;
}

// One line in one write. What a crash, or a full disk, left of a line goes first: joined to it, this one could not be read.
void Journal::append(const std::string& line) const {
  const Fd fd = opened_or_refuse(open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644),
                                 "open " + file_.string());
  off_t size = lseek(fd.get(), 0, SEEK_END);
  for (char last = 0; size > 0 && pread(fd.get(), &last, 1, size - 1) == 1 && last != '\n';) --size;
  if (ftruncate(fd.get(), size) < 0) refuse("write " + file_.string());
  const ssize_t written = write(fd.get(), line.data(), line.size());
  if (written == static_cast<ssize_t>(line.size())) return;
  const int error = written < 0 ? errno : ENOSPC;
  [[maybe_unused]] const int cut = ftruncate(fd.get(), size);
  refuse("write " + file_.string(), error);
}

void Journal::begin(std::size_t number, const Undo& undo) const {
  append(boost::json::serialize(object{{"version", record_version}, {"begin", number}, {"undo", to_json(undo)}}) +
         "\n");
  if (memory_) memory_->owed.push_back({number, undo, false, std::nullopt});
}

namespace {

template <class Append>
void tell(const Append& append, object line) noexcept {
  try {
    line["version"] = record_version;
    append(boost::json::serialize(line) + "\n");
  } catch (const std::exception&) {
    // a record is lost, no guest and no undo
  }
}

}  // namespace

void Journal::done(std::size_t number) const noexcept {
  if (Owed* owed = find(number)) owed->done = true;
  tell([this](const std::string& line) { append(line); }, {{"done", number}});
}

void Journal::undoing(std::size_t number, std::uint64_t from) const noexcept {
  if (Owed* owed = find(number)) owed->begun = from;
  tell([this](const std::string& line) { append(line); }, {{"undoing", number}, {"from", from}});
}

void Journal::undone(std::size_t number) const noexcept {
  if (memory_) std::erase_if(memory_->owed, [&](const Owed& owed) { return owed.number == number; });
  tell([this](const std::string& line) { append(line); }, {{"undone", number}});
}

}  // namespace launcher::steps
