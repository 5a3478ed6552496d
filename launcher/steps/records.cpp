#include "launcher/steps/records.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "launcher/host/fd.hpp"
#include "launcher/steps/journal.hpp"

namespace launcher::inline steps::records {

namespace {

// A regular file only, never waited for: what lies there may be another user's FIFO.
std::expected<std::string, int> whole(const std::filesystem::path& path, std::size_t longest_file) {
  const auto most = static_cast<off_t>(longest_file);
  const Fd fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return std::unexpected(errno);
  struct stat info {};
  int error = fstat(fd.get(), &info) < 0 ? errno : !S_ISREG(info.st_mode) ? EINVAL : info.st_size > most ? EFBIG : 0;
  std::string text;
  text.resize(error == 0 ? static_cast<std::size_t>(info.st_size) + 1 : 0);
  std::size_t got = 0;
  while (error == 0) {
    if (got == text.size()) text.resize(text.size() * 2);
    const ssize_t some = ::read(fd.get(), text.data() + got, text.size() - got);
    if (some < 0 && errno != EINTR) error = errno;
    if (some == 0) break;
    if (some > 0) got += static_cast<std::size_t>(some);
    if (static_cast<off_t>(got) > most) error = EFBIG;
  }
  if (error != 0) return std::unexpected(error);
  text.resize(got);
  return text;
}

}  // namespace

std::optional<std::string> slurp(const std::filesystem::path& path) {
  auto text = whole(path, longest);
  return text ? std::optional(std::move(*text)) : std::nullopt;
}

void replace(const std::filesystem::path& path, std::string_view text) {
  const std::filesystem::path next = path.string() + ".new";
  unlink(next.c_str());  // a crash's, or what somebody laid there
  const Fd fd = opened_or_refuse(open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644),
                                 "open " + next.string());
  const ssize_t written = ::write(fd.get(), text.data(), text.size());
  const bool whole = written == static_cast<ssize_t>(text.size());
  if (whole && rename(next.c_str(), path.c_str()) == 0) return;
  const int why = whole || written < 0 ? errno : ENOSPC;
  unlink(next.c_str());
  refuse("write " + path.string(), why);
}

void write(const std::filesystem::path& path, const boost::json::value& record) {
  boost::json::object whole_record{{"version", record_version}};
  for (const auto& member : record.as_object()) whole_record.insert(member);
  replace(path, boost::json::serialize(whole_record));
}

std::expected<boost::json::value, std::string> read(const std::filesystem::path& path, std::size_t most) {
  const auto text = whole(path, most);
  if (!text && text.error() == ENOENT) return boost::json::value(nullptr);
  if (!text) return std::unexpected(std::system_category().message(text.error()));
  boost::system::error_code error;
  boost::json::value json = boost::json::parse(*text, error);
  if (error || !json.is_object()) return std::unexpected("it is no JSON object");
  const boost::json::value* version = json.get_object().if_contains("version");
  if (version != nullptr &&
      !(version->is_int64() && version->get_int64() > 0 && version->get_int64() <= record_version))
    return std::unexpected(fmt::format("its version is {}, and this vmrun knows up to {}",
                                       boost::json::serialize(*version), record_version));
  return json;
}

}  // namespace launcher::steps::records
