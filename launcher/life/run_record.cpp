#include "launcher/life/run_record.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/describe.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <optional>
#include <system_error>

#include "launcher/host/fd.hpp"
#include "launcher/text/printable.hpp"
#include "topology/placement_json.hpp"

namespace launcher::inline life {

namespace fs = std::filesystem;

BOOST_DESCRIBE_STRUCT(StageTime, (), (stage, us))
BOOST_DESCRIBE_STRUCT(RunRecord, (),
                      (name, keeper, started, ended, how, reason, asked, qemu_exit, exit_code, left, console, qemu, cut,
                       timings))

namespace {

// JSON is UTF-8, a console is what the guest likes.
std::string as_utf8(const std::string& bytes) {
  std::string_view rest = bytes;
  rest = rest.substr(rest.size() > last_words_kept ? rest.size() - last_words_kept : 0);
  std::string text;
  while (!rest.empty()) {
    const CodePoint point = decode_utf8(rest);
    text += point.valid ? std::string(rest.substr(0, point.bytes)) : "\xef\xbf\xbd";
    rest.remove_prefix(point.bytes);
  }
  return text;
}

std::string file_name(const RunRecord& record) {
  return fmt::format("{:012}-{}-{}.json", record.started, record.keeper.pid, record.keeper.start);
}

std::vector<fs::path> files_in(const fs::path& runs) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(runs, error), end; !error && at != end; at.increment(error))
    if (at->path().extension() == ".json") files.push_back(at->path());
  std::sort(files.begin(), files.end());
  return files;
}

void write_file(const fs::path& path, const std::string& text) {
  const fs::path next = path.string() + ".new";
  const Fd fd = opened_or_refuse(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600),
                                 "open " + next.string());
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) {
    const int error = written < 0 ? errno : ENOSPC;
    unlink(next.c_str());
    refuse("write " + next.string(), error);
  }
  fs::rename(next, path);
}

std::optional<std::string> read_file(const fs::path& path) {
  constexpr std::size_t most = 256 * 1024;
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return std::nullopt;
  struct stat found {};
  std::string text;
  if (fstat(fd.get(), &found) == 0 && S_ISREG(found.st_mode) && found.st_size <= static_cast<off_t>(most)) {
    text.resize(static_cast<std::size_t>(found.st_size));
    const ssize_t got = read(fd.get(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  return text;
}

}  // namespace

fs::path runs_directory(const fs::path& state_base, const std::string& name) { return state_base / name / "runs"; }

void write_record(const fs::path& runs, RunRecord record) {
  for (std::string* text : {&record.reason, &record.console, &record.qemu}) *text = as_utf8(*text);
  for (std::string& left : record.left) left = as_utf8(left);
  if (record.left.size() > 20) record.left.resize(20);
  if (record.cut && record.cut->size() > 20) record.cut->resize(20);
  fs::create_directories(runs.parent_path());
  if (mkdir(runs.c_str(), 0700) < 0 && errno != EEXIST)  // a console's words may be anybody's secret
    throw std::system_error(errno, std::generic_category(), "make directory " + runs.string());
  write_file(runs / file_name(record), to_json(record) + "\n");
  std::vector<fs::path> files = files_in(runs);
  std::error_code ignored;
  for (std::size_t i = 0; i + runs_kept < files.size(); ++i) fs::remove(files[i], ignored);
}

std::vector<RunRecord> read_records(const fs::path& runs) {
  std::vector<RunRecord> records;
  for (const fs::path& file : files_in(runs)) {
    const std::optional<std::string> text = read_file(file);
    boost::system::error_code error;
    const boost::json::value json = boost::json::parse(text.value_or(""), error);
    if (error) continue;
    try {
      records.push_back(topology::json::read<RunRecord>(json));
    } catch (const std::invalid_argument&) {
      // a later vmrun's, or somebody else's: the others are still worth reading
    }
  }
  return records;
}

std::vector<std::string> recorded_names(const fs::path& state_base) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(state_base, error), end; !error && at != end; at.increment(error))
    if (!files_in(at->path() / "runs").empty()) names.push_back(at->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string to_json(const RunRecord& record) { return boost::json::serialize(topology::json::write(record)); }

std::string ending_of(const RunRecord& record) {
  if (record.ended != 0) return record.reason;
  return is_alive(record.keeper) ? "it runs" : "its vmrun was killed, so nobody saw how it ended";
}

}  // namespace launcher::life
