// The only file with Boost.Asio. It is used for readiness: reads and writes never block, and one function, wait(),
// sleeps until the socket is ready or the deadline is there. Each call pumps until what it waits for has come; every
// complete line that was read is dispatched before a call returns, whoever it was for.
#include "qmp/client.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/json.hpp>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "qmp/ahead.hpp"

namespace qmp {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using Socket = asio::local::stream_protocol::socket;
using Kind = Error::Kind;

// What a call with no time left may still read: more than a socket holds, so that what was there is drained, and so
// little that a flood does not keep us.
constexpr std::size_t drained_when_late = 512u << 10;

struct Deadline {
  std::chrono::milliseconds length;  // for the message
  Clock::time_point end;

  explicit Deadline(std::chrono::milliseconds given) : length(given) {
    end = Clock::now() +
          std::min<std::chrono::milliseconds>(given, std::chrono::hours(24 * 365));  // max() would overflow
  }
  bool passed() const { return Clock::now() >= end; }
};

// Not that of whoever had the line before us.
std::uint64_t first_id_of_shared() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count()) % 1'000'000'000;
}

}  // namespace

struct Client::Impl {
  explicit Impl(int fd) : socket(io, asio::local::stream_protocol(), fd) { socket.non_blocking(true); }

  Greeting handshake(const Deadline& deadline);
  boost::json::value call(const Command& command, const Deadline& deadline);
  void send_ahead(const std::vector<Command>& commands, const Deadline& deadline);
  template <class Done>
  bool pump(const Deadline& deadline, const std::string& awaited, const Done& done);
  void send(std::string_view line, const std::string& awaited, const Deadline& deadline);
  bool wait(Socket::wait_type what, const Deadline& deadline);
  void dispatch();
  void take(Greeting& message);
  void take(Reply& message) {
    const std::uint64_t id = message.id;
    take_answer(id, std::move(message));
  }
  void take(Failure& message) {
    const std::uint64_t id = message.id == 0 ? waiting_for : message.id;
    take_answer(id, std::move(message));
  }
  void take(Event& message);
  void take_answer(std::uint64_t id, std::variant<Reply, Failure> message);
  // A guest's agent greets nobody, and others had its line before us: what it answers them late is not ours.
  bool line_is_shared() const { return !greeting && is_agent; }
  void check_open() const;
  [[noreturn]] void give_up(Kind kind, const std::string& why);
  [[noreturn]] void time_out(const std::string& awaited, const Deadline& deadline) const;

  asio::io_context io{1};
  Socket socket;
  LineSplitter splitter;
  std::array<char, 32u << 10> chunk{};
  OnEvent handler;
  std::function<void()> idle;
  const std::function<bool(const Event&)>* until = nullptr;  // that of the wait_events() we are in
  bool until_said_yes = false;
  std::optional<Greeting> greeting;
  std::uint64_t last_id = 0;
  bool is_agent = false;
  std::uint64_t waiting_for = 0;  // the id of the command in the air; 0: none
  std::optional<std::variant<Reply, Failure>> answer;
  Ahead ahead;
  std::vector<std::uint64_t> abandoned;  // ids of commands that timed out: their replies may still come
  std::string ended;                     // why there is no connection any more
};

Greeting Client::Impl::handshake(const Deadline& deadline) {
  check_open();
  const std::string awaited = "QEMU's greeting";
  if (!pump(deadline, awaited, [this] { return greeting.has_value(); })) time_out(awaited, deadline);
  call({"qmp_capabilities"}, deadline);
  return *greeting;
}

boost::json::value Client::Impl::call(const Command& command, const Deadline& deadline) {
  check_open();
  if (waiting_for != 0) abandoned.push_back(waiting_for);  // an event handler threw out of the call before this one
  waiting_for = 0;
  answer.reset();
  is_agent = is_agent || (last_id == 0 && !greeting);
  if (is_agent && last_id == 0) last_id = first_id_of_shared();
  const std::string awaited = "the reply to '" + command.name + "'";
  if (std::optional<Ahead::Sent> sent = ahead.take(command)) {
    answer = std::move(sent->answer);
    waiting_for = answer ? 0 : sent->id;
  } else {
    const std::uint64_t id = ++last_id;
    send(to_line(command, id), awaited, deadline);
    waiting_for = id;
  }
  if (!pump(deadline, awaited, [this] { return answer.has_value(); })) {
    abandoned.push_back(std::exchange(waiting_for, 0));
    time_out(awaited, deadline);
  }
  if (const Failure* failure = std::get_if<Failure>(&*answer)) {
    throw Error(Kind::refused, "QEMU refused '" + command.name + "': " + failure->description, failure->error_class);
  }
  return std::move(std::get<Reply>(*answer).value);
}

void Client::Impl::send_ahead(const std::vector<Command>& commands, const Deadline& deadline) {
  check_open();
  std::string lines;
  for (const Command& command : commands) {
    ahead.add(command, ++last_id);
    lines += to_line(command, last_id);
  }
  send(lines, "the reply to what was asked ahead", deadline);
}

// Reads and dispatches until done(); false: the deadline came first.
template <class Done>
bool Client::Impl::pump(const Deadline& deadline, const std::string& awaited, const Done& done) {
  std::size_t taken = 0;
  while (!done()) {
    const bool late = deadline.passed();
    if (late && taken >= drained_when_late) return false;
    boost::system::error_code error;
    const std::size_t size = socket.read_some(asio::buffer(chunk), error);
    if (error == asio::error::would_block) {
      if (late || !wait(Socket::wait_read, deadline)) return false;
    } else if (error == asio::error::eof || error == asio::error::connection_reset) {
      if (!splitter.rest().empty())
        give_up(Kind::protocol, "QEMU's monitor ended within a line: " + excerpt(splitter.rest()));
      give_up(Kind::disconnected, "QEMU closed its monitor before " + awaited);
    } else if (error && error != asio::error::interrupted) {
      give_up(Kind::disconnected, "reading QEMU's monitor: " + error.message());
    } else {
      taken += size;
      splitter.feed({chunk.data(), size});
      dispatch();
    }
  }
  return true;
}

void Client::Impl::send(std::string_view line, const std::string& awaited, const Deadline& deadline) {
  const std::size_t whole = line.size();
  while (!line.empty()) {
    boost::system::error_code error;
    line.remove_prefix(socket.write_some(asio::buffer(line), error));  // Asio sends with MSG_NOSIGNAL
    if (error == asio::error::would_block) {
      if (wait(Socket::wait_write, deadline)) continue;
      if (line.size() == whole) time_out(awaited, deadline);
      give_up(Kind::timeout, "QEMU did not take a whole command; no " + awaited.substr(4));
    } else if (error == asio::error::broken_pipe || error == asio::error::connection_reset) {
      return;  // what QEMU said last may still be there to be read; the EOF behind it ends the wait
    } else if (error && error != asio::error::interrupted) {
      give_up(Kind::disconnected, "writing to QEMU's monitor: " + error.message());
    }
  }
}

// False: the deadline came first.
bool Client::Impl::wait(Socket::wait_type what, const Deadline& deadline) {
  bool ready = false;
  socket.async_wait(what, [&ready](const boost::system::error_code& error) { ready = !error; });
  constexpr std::chrono::milliseconds between_idle{200};
  const auto let_go = [&] {
    socket.cancel();
    io.restart();
    io.run();  // the handler refers to our stack: let it go before we do
  };
  do {
    io.restart();
    io.run_until(idle ? std::min(deadline.end, Clock::now() + between_idle) : deadline.end);
    if (ready || !idle) break;
    try {
      idle();
    } catch (...) {
      let_go();
      throw;
    }
  } while (!deadline.passed());
  if (!ready) let_go();
  return ready;
}

void Client::Impl::dispatch() {
  while (splitter.has_line()) {
    std::expected<Message, std::string> message = parse_message(*splitter.next());
    if (!message && line_is_shared()) continue;  // the rest of what was cut
    if (!message) give_up(Kind::protocol, message.error());
    std::visit([this](auto& m) { take(m); }, *message);
  }
  if (splitter.broken()) give_up(Kind::protocol, "QEMU sent " + splitter.next().error());
}

void Client::Impl::take(Greeting& message) {
  if (greeting) give_up(Kind::protocol, "QEMU greeted a second time");
  greeting = std::move(message);
}

void Client::Impl::take(Event& message) {
  if (handler) handler(message);
  if (until && *until && (*until)(message)) until_said_yes = true;
}

void Client::Impl::take_answer(std::uint64_t id, std::variant<Reply, Failure> message) {
  if (id != 0 && id == waiting_for) {
    answer = std::move(message);
    waiting_for = 0;
  } else if (auto* early = ahead.place_for(id)) {
    *early = std::move(message);
  } else if (std::erase(abandoned, id) == 0 && !line_is_shared()) {
    const std::uint64_t awaited = waiting_for != 0 ? waiting_for : ahead.next();
    give_up(Kind::protocol, "QEMU sent a reply with id " + std::to_string(id) +
                                (awaited ? " where " + std::to_string(awaited) + " was awaited" : " to no command"));
  }
}

void Client::Impl::check_open() const {
  if (!socket.is_open()) throw Error(Kind::disconnected, ended);
}

void Client::Impl::give_up(Kind kind, const std::string& why) {
  boost::system::error_code ignored;
  socket.close(ignored);
  ended = "no connection to QEMU's monitor any more: " + why;
  throw Error(kind, why);
}

void Client::Impl::time_out(const std::string& awaited, const Deadline& deadline) const {
  std::string text = awaited + " did not come within " + std::to_string(deadline.length.count()) + " ms";
  if (!splitter.rest().empty()) text += "; only this has: " + excerpt(splitter.rest());
  throw Error(Kind::timeout, text);
}

Client::Client(int fd) : impl_(std::make_unique<Impl>(fd)) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Greeting Client::handshake(std::chrono::milliseconds deadline) { return impl_->handshake(Deadline(deadline)); }

boost::json::value Client::execute(const Command& command, std::chrono::milliseconds deadline) {
  return impl_->call(command, Deadline(deadline));
}

void Client::send_ahead(const std::vector<Command>& commands, std::chrono::milliseconds deadline) {
  impl_->send_ahead(commands, Deadline(deadline));
}

bool Client::wait_events(std::chrono::milliseconds deadline, const std::function<bool(const Event&)>& until) {
  impl_->check_open();
  struct Asking {  // also when a handler throws
    Impl& impl;
    ~Asking() { impl.until = nullptr; }
  } asking{*impl_};
  impl_->until = &until;
  impl_->until_said_yes = false;
  return impl_->pump(Deadline(deadline), "an event", [this] { return impl_->until_said_yes; });
}

void Client::on_event(OnEvent handler) { impl_->handler = std::move(handler); }

void Client::on_idle(std::function<void()> handler) { impl_->idle = std::move(handler); }

int Client::fd() const { return impl_->socket.is_open() ? impl_->socket.native_handle() : -1; }

}  // namespace qmp
