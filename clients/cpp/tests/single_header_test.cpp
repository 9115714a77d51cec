#define TFAAS_IMPLEMENTATION
#include "tfaas/single.h"

#include "check.h"
#include "little_server.h"

tfaas::Result<tfaas::Predictions> ask_from_another_source(const tfaas::Client& client);

int main() {
    LittleServer server([](const Received& request) {
        CHECK(request.path == "/proto");
        return response(200, {"\x0a\x05\x15\x00\x00\x40\x3f", 7}, "application/octet-stream");
    });
    const auto answer = ask_from_another_source(tfaas::Client(server.url));
    CHECK(answer && answer.value()(0) == 0.75F);
    return failed_checks != 0;
}
