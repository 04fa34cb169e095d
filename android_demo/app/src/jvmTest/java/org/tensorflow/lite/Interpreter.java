package org.tensorflow.lite;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Replaces TensorFlow Lite's interpreter in tests on the JVM, where its native library doesn't load. LiteRT in Python runs the
 * model (tools/interpret.py). It has the methods that the app calls, and precedes the real class on the class path.
 */
public final class Interpreter implements AutoCloseable {
    public static final AtomicInteger CREATED = new AtomicInteger();
    public static final AtomicInteger CLOSED = new AtomicInteger();

    private final Process process;
    private final DataOutputStream requests;
    private final DataInputStream responses;

    public Interpreter(ByteBuffer model, Options options) {
        CREATED.incrementAndGet();
        try {
            process = new ProcessBuilder(System.getProperty("interpreter").split(" "))
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
            requests = new DataOutputStream(process.getOutputStream());
            responses = new DataInputStream(process.getInputStream());
            send(model.duplicate());
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    private void send(ByteBuffer content) throws IOException {
        byte[] bytes = new byte[content.remaining()];
        content.get(bytes);
        requests.writeInt(bytes.length);
        requests.write(bytes);
        requests.flush();
    }

    public void runForMultipleInputsOutputs(Object[] inputs, Map<Integer, Object> outputs) {
        try {
            send(((ByteBuffer) inputs[0]).duplicate());
            byte[] response = new byte[responses.readInt()];
            responses.readFully(response);
            ((ByteBuffer) outputs.get(0)).put(response);
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    @Override
    public void close() {
        CLOSED.incrementAndGet();
        process.destroy();
    }

    public static class Options {
        public Options setNumThreads(int count) {
            return this;
        }

        public Options setUseXNNPACK(boolean use) {
            return this;
        }

        public Options addDelegate(Delegate delegate) {
            return this;
        }
    }
}
