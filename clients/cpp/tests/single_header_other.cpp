#include "tfaas/single.h"

tfaas::Result<tfaas::Predictions> ask_from_another_source(const tfaas::Client& client) {
    return client.predict("signal", {"met"}, {1.0F});
}
