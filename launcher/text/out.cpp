// See out.hpp.
#include "launcher/text/out.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>

#include "launcher/text/bounded_write.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/render_problem.hpp"

namespace launcher::inline text {

namespace {

// How long a reader of 0, 1 and 2 may take; nullopt: as long as it likes.
std::optional<std::array<std::chrono::milliseconds, 3>> patience;

// Why stdout did not take the first words that it did not take.
int lost = 0;
void lose() {
  if (lost == 0) lost = errno;
}

void write_to(std::FILE* file, std::string_view text) {
  if (!patience) {
    const bool taken = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    if (file == stdout && (std::fflush(file) != 0 || !taken)) lose();
    return;
  }
  const int fd = file == stdout ? STDOUT_FILENO : STDERR_FILENO;
  std::chrono::milliseconds& bound = patience->at(static_cast<std::size_t>(fd));
  if (write_within(fd, text, bound) < text.size()) bound = std::chrono::milliseconds(0);
}

// Each code point by itself: `as` says what becomes of it.
template <class As>
std::string translated(std::string_view text, const As& as) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    safe += as(point, text.substr(0, point.bytes));
    text.remove_prefix(point.bytes);
  }
  return safe;
}

}  // namespace

void fill_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      static_cast<void>(open("/dev/null", O_RDONLY));  // the lowest: this one
}

std::string lost_words() {
  return lost == 0 ? ""
                   : fmt::format("standard output: {}: not all that was to be printed is there", std::strerror(lost));
}

void never_wait_for_readers() {
  constexpr std::chrono::milliseconds moment{1000};
  patience = {moment, moment, moment};
}

std::string printable_lines(std::string_view text) {
  return translated(text, [](CodePoint point, std::string_view bytes) {
    return point.value == '\n' || point.value == '\t' ? std::string(bytes) : printable(point, bytes);
  });
}

std::string printable_message(std::string_view text) {
  std::string safe;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    if (from > 0 && end == text.size() && from == end) break;  // the text's own last line end
    safe += (from ? "\n    " : "") + printable_lines(text.substr(from, end - from));
    from = end + 1;
  }
  return safe;
}

std::string printable_json(std::string_view json) {
  return translated(json, [](CodePoint point, std::string_view bytes) {
    if (point.value == '\n') return std::string(bytes);  // between values; inside strings JSON has none
    if (!point.valid) return std::string("\\ufffd");
    return is_control(point.value) ? fmt::format("\\u{:04x}", static_cast<unsigned>(point.value)) : std::string(bytes);
  });
}

void print(std::string_view text) { write_to(stdout, printable_lines(text)); }
void print_json_text(std::string_view json) { write_to(stdout, printable_json(json) + "\n"); }
void say(std::string_view text) { write_to(stderr, "vmrun: " + printable_message(text) + "\n"); }
void complain(std::string_view text) { write_to(stderr, printable_lines(text)); }

// render() has made all of it printable, but for the colours that are ours.
void complain(const Problems& problems, const TomlDocument* document, bool colour) {
  write_to(stderr, render(problems, document, colour));
}

void redraw(std::string_view page) { write_to(stdout, "\033[H\033[J" + printable_lines(page)); }

void hand_on(int fd, std::string_view bytes) {
  const std::string text = isatty(fd) != 0 ? printable_lines(bytes) : std::string(bytes);
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno != EINTR) {
      if (fd == STDOUT_FILENO && errno != EPIPE) lose();  // EPIPE: its reader has enough
      return;
    }
    done += count > 0 ? static_cast<std::size_t>(count) : 0;
  }
}

void progress(std::string_view text) { write_to(stderr, "\r\033[K" + printable(text)); }

}  // namespace launcher::text
