// A consumer and a provider that know mprpc's bytes and its ZooKeeper nodes, and nothing of ours.
//
//   peer call ZOOKEEPER SERVICE METHOD WORDS...    one call, as mprpc makes it
//   peer whole ZOOKEEPER SERVICE METHOD WORDS...   the same, but it receives to the end
//   peer provide ZOOKEEPER                         serves until its standard input ends
//
// A call prints one line: what the response says, or the text that a controller would have.
// Built as one translation unit, because the headers of protobuf take their time.
#include "fixbug.pb.cc"
#include "rpcheader.pb.cc"

#include <arpa/inet.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace {

const char *const kServices[][3] = {
    {"UserServiceRpc", "Login", "Register"},
    {"FriendServiceRpc", "GetFriendsList", nullptr},
};

void Connected(zhandle_t *handle, int type, int state, const char *, void *) {
  if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE)
    sem_post(static_cast<sem_t *>(const_cast<void *>(zoo_get_context(handle))));
}

zhandle_t *Session(const char *hosts) {
  zoo_set_debug_level(static_cast<ZooLogLevel>(0));
  auto *connected = new sem_t;  // the session's thread may still be in it when we go on
  sem_init(connected, 0, 0);
  zhandle_t *handle = zookeeper_init(hosts, Connected, 30000, nullptr, connected, 0);
  if (handle == nullptr) std::exit(3);
  sem_wait(connected);
  return handle;
}

void Create(zhandle_t *handle, const std::string &path, const std::string &data, int flags) {
  if (zoo_exists(handle, path.c_str(), 0, nullptr) == ZOK) return;
  int status = zoo_create(handle, path.c_str(), data.data(), static_cast<int>(data.size()),
                          &ZOO_OPEN_ACL_UNSAFE, flags, nullptr, 0);
  if (status != ZOK) {
    std::fprintf(stderr, "cannot create %s: %s\n", path.c_str(), zerror(status));
    std::exit(3);
  }
}

std::string Get(zhandle_t *handle, const std::string &path) {
  char data[64];
  int size = sizeof data;
  if (zoo_get(handle, path.c_str(), 0, data, &size, nullptr) != ZOK || size < 0) return "";
  return std::string(data, static_cast<size_t>(size));
}

bool SendAll(int fd, const std::string &data) {
  size_t sent = 0;
  while (sent < data.size()) {
    ssize_t count = send(fd, data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
    if (count < 0) return false;
    sent += static_cast<size_t>(count);
  }
  return true;
}

std::string Framed(const std::string &service, const std::string &method, const std::string &args) {
  mprpc::RpcHeader header;
  header.set_service_name(service);
  header.set_method_name(method);
  header.set_args_size(static_cast<uint32_t>(args.size()));
  const std::string head = header.SerializeAsString();
  const uint32_t size = static_cast<uint32_t>(head.size());
  return std::string(reinterpret_cast<const char *>(&size), 4) + head + args;
}

int Fail(const std::string &text) {
  std::printf("failed: %s\n", text.c_str());
  return 1;
}

int FailErrno(const char *what) {
  return Fail(std::string(what) + " error! errno:" + std::to_string(errno));
}

std::string Args(const std::string &method, int count, char **words) {
  const std::string first = count > 0 ? words[0] : "", second = count > 1 ? words[1] : "";
  if (method == "Login") {
    fixbug::LoginRequest request;
    request.set_name(first);
    request.set_pwd(second);
    return request.SerializeAsString();
  }
  if (method == "Register") {
    fixbug::RegisterRequest request;
    request.set_id(static_cast<uint32_t>(std::atoi(first.c_str())));
    request.set_name(second);
    return request.SerializeAsString();
  }
  if (method == "GetFriendsList") {
    fixbug::GetFriendsListRequest request;
    request.set_userid(static_cast<uint32_t>(std::atoi(first.c_str())));
    return request.SerializeAsString();
  }
  return first;  // of a method that there is not: anything
}

int Show(const std::string &method, const std::string &reply) {
  if (method == "GetFriendsList") {
    fixbug::GetFriendsListResponse response;
    if (!response.ParseFromString(reply)) return Fail("parse error!");
    size_t bytes = 0;
    for (const std::string &each : response.friends()) bytes += each.size();
    std::printf("friends: %d first: %.20s bytes: %zu online: %zu\n", response.friends_size(),
                response.friends_size() ? response.friends(0).c_str() : "", bytes,
                response.online().size());
    return 0;
  }
  fixbug::LoginResponse response;  // Register's looks the same
  if (!response.ParseFromString(reply)) return Fail("parse error!");
  std::printf("success: %d errcode: %d errmsg: %s\n", response.success(),
              response.result().errcode(), response.result().errmsg().c_str());
  return 0;
}

int Call(bool whole, int count, char **words) {
  const std::string service = words[1], method = words[2];
  const std::string args = Args(method, count - 3, words + 3);
  const std::string path = "/" + service + "/" + method;
  zhandle_t *handle = Session(words[0]);
  const std::string address = Get(handle, path);
  zookeeper_close(handle);
  if (address.empty()) return Fail(path + " is not exist!");
  const size_t colon = address.find(':');
  if (colon == std::string::npos) return Fail(path + " address is invalid!");

  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  to.sin_addr.s_addr = inet_addr(address.substr(0, colon).c_str());
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, reinterpret_cast<sockaddr *>(&to), sizeof to) < 0) return FailErrno("connect");
  if (!SendAll(fd, Framed(service, method, args))) return FailErrno("send");
  std::string reply;
  char data[1024];
  for (;;) {
    const ssize_t size = recv(fd, data, sizeof data, 0);
    if (size < 0) return FailErrno("recv");
    reply.append(data, static_cast<size_t>(size));
    if (size == 0 || !whole) break;  // mprpc receives once
  }
  close(fd);
  return Show(method, reply);
}

// The provider's answers. False: none at all, which is what mprpc does about an error.
bool Answer(const mprpc::RpcHeader &header, const std::string &args, int fd, std::string *reply) {
  const std::string &method = header.method_name();
  if (header.service_name() == "UserServiceRpc" && method == "Login") {
    fixbug::LoginRequest request;
    if (!request.ParseFromString(args)) return false;
    if (request.name() == "reset") {
      const linger now{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      *reply = "";
      return true;
    }
    if (request.name() == "garbage") {
      *reply = "\xff\xff\xff";
      return true;
    }
    if (request.name() == "hang") return false;
    fixbug::LoginResponse response;
    response.mutable_result()->set_errcode(request.pwd() == "123456" ? 0 : 1);
    response.mutable_result()->set_errmsg(request.pwd() == "123456" ? "" : "wrong");
    response.set_success(request.pwd() == "123456");
    *reply = response.SerializeAsString();
    return true;
  }
  if (header.service_name() == "UserServiceRpc" && method == "Register") {
    *reply = fixbug::RegisterResponse().SerializeAsString();  // no byte
    return true;
  }
  if (header.service_name() == "FriendServiceRpc" && method == "GetFriendsList") {
    fixbug::GetFriendsListRequest request;
    if (!request.ParseFromString(args)) return false;
    fixbug::GetFriendsListResponse response;
    response.add_friends("gao yang");
    response.add_friends(std::string(request.userid(), 'x'));
    (*response.mutable_online())["gao yang"] = true;
    *reply = response.SerializeAsString();
    return true;
  }
  return false;
}

void Serve(int fd) {
  std::string data;
  char chunk[65536];
  for (;;) {
    const ssize_t size = recv(fd, chunk, sizeof chunk, 0);
    if (size <= 0) break;
    data.append(chunk, static_cast<size_t>(size));
    uint32_t head = 0;
    if (data.size() < 4) continue;
    std::memcpy(&head, data.data(), 4);
    mprpc::RpcHeader header;
    if (data.size() < 4 + head || !header.ParseFromString(data.substr(4, head))) continue;
    if (data.size() < 4 + head + header.args_size()) continue;
    std::string reply;
    if (!Answer(header, data.substr(4 + head, header.args_size()), fd, &reply)) continue;
    SendAll(fd, reply);
    break;
  }
  close(fd);
}

int Provide(const char *hosts) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = inet_addr("127.0.0.1");
  socklen_t size = sizeof at;
  bind(listener, reinterpret_cast<sockaddr *>(&at), size);
  listen(listener, 128);
  getsockname(listener, reinterpret_cast<sockaddr *>(&at), &size);
  const std::string address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));

  zhandle_t *handle = Session(hosts);
  for (const auto &service : kServices) {
    const std::string path = std::string("/") + service[0];
    Create(handle, path, "", 0);
    for (int each = 1; each < 3 && service[each] != nullptr; ++each)
      Create(handle, path + "/" + service[each], address, ZOO_EPHEMERAL);
  }
  std::printf("listening on %s\n", address.c_str());
  std::fflush(stdout);
  pollfd wanted[2] = {{0, POLLIN, 0}, {listener, POLLIN, 0}};
  for (;;) {
    if (poll(wanted, 2, -1) < 0 && errno != EINTR) break;
    if (wanted[0].revents != 0) break;  // standard input has ended
    if (wanted[1].revents == 0) continue;
    const int fd = accept(listener, nullptr, nullptr);
    if (fd >= 0) std::thread(Serve, fd).detach();
  }
  // Its session's end would take the nodes along, but not always at once: the library may close the
  // connection before the server has read that.
  for (const auto &service : kServices)
    for (int each = 1; each < 3 && service[each] != nullptr; ++each)
      zoo_delete(handle, (std::string("/") + service[0] + "/" + service[each]).c_str(), -1);
  zookeeper_close(handle);
  std::_Exit(0);
}

}  // namespace

int main(int count, char **words) {
  const std::string job = count > 1 ? words[1] : "";
  if (job == "provide" && count == 3) return Provide(words[2]);
  if ((job == "call" || job == "whole") && count > 4)
    return Call(job == "whole", count - 2, words + 2);
  std::fprintf(stderr, "peer call|whole ZOOKEEPER SERVICE METHOD WORDS... | provide ZOOKEEPER\n");
  return 2;
}
