package io.github.shufflenettf.core;

import java.nio.ByteBuffer;

/**
 * A textbook implementation: for each result pixel it reads all pixels under the kernel one by one through functions,
 * rotates by coordinates, and computes in floating point. The kernel is antialiased bilinear; short side 256, centre 224.
 */
final class PlainLoop {
    private static final float SHORT_SIDE = 256;

    private final ByteBuffer memory;
    private final int width;
    private final int height;
    private final int rotation;
    private final int side;
    private final byte[] result;
    private final float[] converted;
    private final float[] rgb = new float[3];
    private float stepX;
    private float stepY;
    private boolean before;

    /** Reads an NV21 frame of full range. */
    PlainLoop(ByteBuffer memory, int width, int height, int rotation, int side) {
        this.memory = memory;
        this.width = width;
        this.height = height;
        this.rotation = rotation;
        this.side = side;
        result = new byte[side * side * 3];
        converted = new float[width * height * 3];
    }

    byte[] convertEachTime() {
        before = false;
        return resize();
    }

    byte[] convertBefore() {
        before = false;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                read(x, y);
                System.arraycopy(rgb, 0, converted, (y * width + x) * 3, 3);
            }
        }
        before = true;
        return resize();
    }

    private byte[] resize() {
        boolean lying = rotation % 180 != 0;
        int across = lying ? height : width;
        int down = lying ? width : height;
        int resizedAcross = Math.round(across * SHORT_SIDE / Math.min(across, down));
        int resizedDown = Math.round(down * SHORT_SIDE / Math.min(across, down));
        stepX = (float) across / resizedAcross;
        stepY = (float) down / resizedDown;
        int left = (resizedAcross - side) / 2;
        int top = (resizedDown - side) / 2;
        for (int y = 0; y < side; y++) {
            for (int x = 0; x < side; x++) {
                pixel((left + x + 0.5f) * stepX, (top + y + 0.5f) * stepY, (y * side + x) * 3);
            }
        }
        return result;
    }

    /** Computes the result pixel at (x, y) of the upright frame, downscaling. */
    private void pixel(float x, float y, int at) {
        float red = 0;
        float green = 0;
        float blue = 0;
        float sum = 0;
        for (int j = (int) Math.ceil(y - stepY - 0.5f); j <= y + stepY - 0.5f; j++) {
            for (int i = (int) Math.ceil(x - stepX - 0.5f); i <= x + stepX - 0.5f; i++) {
                float weight = (1 - Math.abs(i + 0.5f - x) / stepX) * (1 - Math.abs(j + 0.5f - y) / stepY);
                readUpright(i, j);
                red += weight * rgb[0];
                green += weight * rgb[1];
                blue += weight * rgb[2];
                sum += weight;
            }
        }
        result[at] = (byte) Math.round(red / sum);
        result[at + 1] = (byte) Math.round(green / sum);
        result[at + 2] = (byte) Math.round(blue / sum);
    }

    private void readUpright(int x, int y) {
        switch (rotation) {
            case 90: read(y, height - 1 - x); break;
            case 180: read(width - 1 - x, height - 1 - y); break;
            case 270: read(width - 1 - y, x); break;
            default: read(x, y);
        }
    }

    private void read(int x, int y) {
        if (before) {
            System.arraycopy(converted, (y * width + x) * 3, rgb, 0, 3);
            return;
        }
        float luma = memory.get(y * width + x) & 0xff;
        int chroma = width * height + y / 2 * width + x / 2 * 2;
        float v = (memory.get(chroma) & 0xff) - 128;
        float u = (memory.get(chroma + 1) & 0xff) - 128;
        rgb[0] = Math.min(Math.max(luma + 1.402f * v, 0), 255);
        rgb[1] = Math.min(Math.max(luma - 0.344136f * u - 0.714136f * v, 0), 255);
        rgb[2] = Math.min(Math.max(luma + 1.772f * u, 0), 255);
    }
}
